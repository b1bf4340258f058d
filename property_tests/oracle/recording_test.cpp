// Whole tensors from the shards of ranks that know nothing of each other.

#include "oracle/recording.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace meshparity {
namespace {

ParameterSpec matrix_spec() {
  ParameterSpec spec;
  spec.name = "w";
  spec.rows = 3;
  spec.columns = 4;
  return spec;
}

std::vector<float> counted_up(std::size_t count, float first) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

/// The elements of a shard of a tensor that counts up.
std::vector<float> part_of(const Shard& shard, float first) {
  std::vector<float> values;
  for (std::size_t i = 0; i < shard.size(); ++i) {
    values.push_back(first + static_cast<float>(shard.global_index(i)));
  }
  return values;
}

void report(Recorder& recorder, const Shard& shard, float loss) {
  const std::vector<float> values = part_of(shard, 100);
  const std::vector<float> gradient = part_of(shard, 200);
  const ShardView view{&shard, true, values, gradient};
  recorder.step({.step = 1, .loss = loss, .gradient_norm = 2, .digest = 3, .shards = {&view, 1}});
  const ShardView last{&shard, true, gradient, {}};
  recorder.finished({.step = 2, .shards = {&last, 1}});
}

TEST(Recorder, PutsShardsOfEveryKindTogether) {
  const Shard whole(matrix_spec());
  const Shard left(matrix_spec(), {0, 3}, {0, 1});
  const Shard right(matrix_spec(), {0, 3}, {1, 4});
  const Shard top(matrix_spec(), {0, 1}, {0, 4});
  const Shard bottom(matrix_spec(), {1, 3}, {0, 4});
  const std::vector<std::vector<Shard>> ways{
      {whole},
      {right, left},
      {top, bottom},
      {share_of(whole, 3, 2), share_of(whole, 3, 0), share_of(whole, 3, 1)},
      {share_of(bottom, 5, 0), share_of(bottom, 5, 1), share_of(bottom, 5, 2),
       share_of(bottom, 5, 3), share_of(bottom, 5, 4), top},
      {left, share_of(right, 2, 0), share_of(right, 2, 1), share_of(right, 12, 11)}};
  for (const std::vector<Shard>& shards : ways) {
    Recording recording;
    for (const Shard& shard : shards) {
      Recorder recorder(recording);
      EXPECT_TRUE(recorder.wants_statistics());
      EXPECT_EQ(recorder.boundaries(), nullptr);
      report(recorder, shard, 0.5F);
    }
    ASSERT_EQ(recording.steps.size(), 2U);
    const Recording::Step& step = recording.steps[1];
    EXPECT_EQ(step.values, (FloatTensors{{"w", counted_up(12, 100)}}));
    EXPECT_EQ(step.gradients, (FloatTensors{{"w", counted_up(12, 200)}}));
    EXPECT_EQ(recording.final_values, (FloatTensors{{"w", counted_up(12, 200)}}));
    EXPECT_EQ(step.loss, 0.5F);
    EXPECT_EQ(step.gradient_norm, 2);
    EXPECT_EQ(step.digest, 3U);
    EXPECT_EQ(step.reports, shards.size());
    EXPECT_EQ(recording.steps[0].reports, 0U);
    EXPECT_EQ(recording.replicas_differ, "");
  }
}

TEST(Recorder, NoticesRanksThatDisagreeAboutTheLoss) {
  Recording recording;
  Recorder first(recording);
  Recorder second(recording);
  report(first, Shard(matrix_spec()), 0.0F);
  report(second, Shard(matrix_spec()), -0.0F);
  EXPECT_EQ(recording.replicas_differ, "loss");
}

TEST(Recorder, KeepsTheGradientBesideACopyThatHasNone) {
  Recording recording;
  Recorder recorder(recording);
  const Shard whole(matrix_spec());
  const std::vector<float> values = part_of(whole, 100);
  const std::vector<float> gradient = part_of(whole, 200);
  const std::vector<ShardView> views{{&whole, true, values, gradient}, {&whole, false, values, {}}};
  recorder.step({.shards = views});
  EXPECT_EQ(recording.steps[0].gradients.at("w"), gradient);
}

TEST(Recorder, PutsBoundariesTogetherFromMicrobatchesAndFeatures) {
  // Boundary 2 is (4 samples, 3 features): samples 0 and 1 come from one rank; of samples 2 and 3,
  // feature 0 from another and features 1 and 2 from a third.
  Recording recording;
  std::vector<Recorder> ranks(3, Recorder(recording, true));
  const auto show = [&](std::size_t rank, Range samples, Range features) {
    MicroBatch batch;
    batch.step = 1;
    batch.slots = samples;
    std::vector<float> values;
    for (std::size_t s = samples.begin; s < samples.end; ++s) {
      for (std::size_t f = features.begin; f < features.end; ++f) {
        values.push_back(static_cast<float>(3 * s + f));
      }
    }
    ASSERT_NE(ranks[rank].boundaries(), nullptr);
    BoundaryView view;
    view.boundary = 2;
    view.batch = &batch;
    view.width = 3;
    view.features = features;
    view.values = values;
    ranks[rank].boundaries()->value(view);
    for (float& x : values) x = -x;
    view.boundary = 1;
    ranks[rank].boundaries()->gradient(view);
  };
  show(2, {2, 4}, {1, 3});
  show(0, {0, 2}, {0, 3});
  show(1, {2, 4}, {0, 1});
  ASSERT_EQ(recording.steps.size(), 2U);
  const Recording::Step& step = recording.steps[1];
  ASSERT_EQ(step.boundary_values.size(), 3U);
  EXPECT_TRUE(step.boundary_values[0].empty() && step.boundary_values[1].empty());
  EXPECT_EQ(step.boundary_values[2], counted_up(12, 0));
  std::vector<float> negative = counted_up(12, 0);
  for (float& x : negative) x = -x;
  ASSERT_EQ(step.boundary_gradients.size(), 2U);
  EXPECT_EQ(step.boundary_gradients[1], negative);
  EXPECT_EQ(step.reports, 0U);
}

}  // namespace
}  // namespace meshparity
