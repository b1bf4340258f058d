// What trainers report of a step: the same from any mesh.
#include "parallel/observe.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

#include "model/statistics.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

struct Recorder final : StepObserver {
  explicit Recorder(bool with_statistics) : statistics(with_statistics) {}
  bool wants_statistics() const override { return statistics; }
  void step(const StepView& view) override { seen.push_back(view); }

  bool statistics;
  std::vector<StepView> seen;
};

RC_GTEST_PROP(ObserveStep, StatisticsAreThoseOfOneRank, ()) {
  const ParameterSpec spec{"w", *from_to(1, 6), *from_to(1, 6)};
  const std::vector<float> values = random::floats(spec.size(), random::finite_float());
  const std::vector<float> gradient = random::floats(spec.size(), random::finite_float());
  const std::size_t owners = *from_to(1, 5);
  const std::size_t copies = *from_to(1, 3);
  const std::vector<Range> flat = random::random_split({0, spec.size()}, owners);

  const Shard whole(spec);
  const std::vector<ShardView> whole_view{{&whole, true, values, gradient}};
  Recorder single(true);
  observe_step(single, 3, 1.5F, whole_view);

  std::vector<Recorder> spread(owners * copies, Recorder(true));
  run_simulated({.ranks = owners * copies, .seed = *random::any_seed()}, [&](Comm& world) {
    const std::size_t owner = world.rank() % owners;
    Shard shard(spec);
    shard.flat = flat[owner];
    const std::vector<ShardView> views{
        {&shard, world.rank() < owners, std::span(values).subspan(shard.flat.begin, shard.size()),
         std::span(gradient).subspan(shard.flat.begin, shard.size())}};
    observe_step(spread[world.rank()], {.step = 3, .loss = 1.5F, .shards = views}, world);
  });
  for (const Recorder& recorder : spread) {
    RC_ASSERT(recorder.seen.size() == 1U);
    const StepView& seen = recorder.seen.front();
    RC_ASSERT(seen.step == 3U);
    RC_ASSERT(seen.loss == 1.5F);
    RC_ASSERT(seen.gradient_norm == single.seen.front().gradient_norm);
    RC_ASSERT(seen.digest == single.seen.front().digest);
  }
}

TEST(ObserveStep, WithoutStatisticsNothingIsExchanged) {
  const Shard shard(ParameterSpec{"w", 1, 1, true});
  const std::vector<float> one{1};
  const std::vector<ShardView> views{{&shard, true, one, one}};
  // The other rank never takes part.
  run_simulated({.ranks = 2}, [&](Comm& world) {
    if (world.rank() == 1) return;
    Recorder recorder(false);
    observe_step(recorder, {.step = 0, .loss = 1.0F, .shards = views}, world);
    EXPECT_EQ(recorder.seen.front().gradient_norm, 0.0);
    EXPECT_EQ(recorder.seen.front().digest, 0U);
    EXPECT_EQ(recorder.seen.front().shards.size(), 1U);
  });
}

TEST(ObserveStep, ALossThatIsNotFiniteEndsTraining) {
  for (const float loss :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Recorder recorder(true);
    EXPECT_THROW(run_simulated({.ranks = 2},
                               [&](Comm& world) {
                                 observe_step(recorder, {.step = 4, .loss = loss}, world);
                               }),
                 TrainingDiverged);
    EXPECT_TRUE(recorder.seen.empty());
  }
}

}  // namespace
}  // namespace meshparity
