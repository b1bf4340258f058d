#include "model/statistics.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;
using Words = std::array<std::uint64_t, Statistics::word_count>;

Words words_of(const Statistics& statistics) {
  Words words{};
  statistics.to_words(words);
  return words;
}

/// A whole tensor with values and a gradient.
struct Tensor {
  Shard shard;
  std::vector<float> values;
  std::vector<float> gradient;

  explicit Tensor(const std::string& name)
      : shard(ParameterSpec{name, *from_to(1, 6), *from_to(1, 6), false, 1}),
        values(random::floats(shard.size(), random::any_float())),
        gradient(random::floats(shard.size(), random::finite_float())) {}

  ShardView view() const { return {&shard, true, values, gradient}; }
};

RC_GTEST_PROP(Statistics, StatisticsSurviveAsWords, ()) {
  const Tensor tensor("w");
  Statistics statistics;
  statistics.add(tensor.view());
  const Statistics back = Statistics::from_words(words_of(statistics));
  RC_ASSERT(words_of(back) == words_of(statistics));
  RC_ASSERT(back.digest == statistics.digest);
  RC_ASSERT(back.squares.rounded() == statistics.squares.rounded());
}

RC_GTEST_PROP(Statistics, StatisticsOfShardsAddUp, ()) {
  const Tensor a("a");
  const Tensor b("b");
  Statistics whole;
  whole.add(a.view());
  whole.add(b.view());
  Words sum{};
  for (const Tensor* tensor : {&b, &a}) {
    for (const Range flat : random::random_split({0, tensor->values.size()}, *from_to(1, 5))) {
      Shard shard = tensor->shard;
      shard.flat = flat;
      const ShardView mine{&shard, true, std::span(tensor->values).subspan(flat.begin, flat.size()),
                           std::span(tensor->gradient).subspan(flat.begin, flat.size())};
      ShardView copy = mine;
      copy.counted = false;
      Statistics part;
      part.add(mine);
      part.add(copy);
      const Words words = words_of(part);
      for (std::size_t w = 0; w < sum.size(); ++w) sum[w] += words[w];
    }
  }
  RC_ASSERT(words_of(Statistics::from_words(sum)) == words_of(whole));
}

RC_GTEST_PROP(Statistics, EveryBitOfEveryElementChangesTheDigest, ()) {
  Tensor tensor("w");
  const std::uint64_t before = digest_of(tensor.shard, tensor.values);
  float& element = tensor.values[*from_to(0, tensor.values.size() - 1)];
  const auto bits = std::bit_cast<std::uint32_t>(element);
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    element = std::bit_cast<float>(bits ^ (1U << bit));
    RC_ASSERT(digest_of(tensor.shard, tensor.values) != before);
  }
}

RC_GTEST_PROP(Statistics, SwappedValuesChangeTheDigest, ()) {
  Tensor tensor("w");
  const std::size_t i = *from_to(0, tensor.values.size() - 1);
  const std::size_t j = *from_to(0, tensor.values.size() - 1);
  RC_PRE(std::bit_cast<std::uint32_t>(tensor.values[i]) !=
         std::bit_cast<std::uint32_t>(tensor.values[j]));
  const std::uint64_t before = digest_of(tensor.shard, tensor.values);
  std::swap(tensor.values[i], tensor.values[j]);
  RC_ASSERT(digest_of(tensor.shard, tensor.values) != before);
}

RC_GTEST_PROP(Statistics, TheNameChangesTheDigest, ()) {
  const Tensor tensor("w");
  Shard renamed = tensor.shard;
  renamed.spec.name = "v";
  RC_ASSERT(digest_of(renamed, tensor.values) != digest_of(tensor.shard, tensor.values));
}

RC_GTEST_PROP(Statistics, EveryMomentChangesTheDigest, ()) {
  Tensor tensor("w");
  const std::vector<float> first = tensor.gradient;
  const std::vector<float> second = tensor.values;
  const auto digest = [&](std::span<const float> m, std::span<const float> v) {
    return digest_of(ShardView{&tensor.shard, true, tensor.values, {}, m, v});
  };
  const std::uint64_t with_both = digest(first, second);
  // Each of the two counts, and in its own way.
  RC_ASSERT(with_both != digest(first, {}));
  RC_ASSERT(with_both != digest({}, second));
  RC_ASSERT(digest(first, {}) != digest({}, first));
  const std::size_t i = *from_to(0, first.size() - 1);
  const std::uint32_t flipped = 1U << *from_to(0, 31);
  const auto changed = [&](std::vector<float> values) {
    values[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(values[i]) ^ flipped);
    return values;
  };
  RC_ASSERT(with_both != digest(changed(first), second));
  RC_ASSERT(with_both != digest(first, changed(second)));
}

TEST(Statistics, TheSignOfZeroChangesTheDigest) {
  const Shard shard(ParameterSpec{"w", 1, 1, true});
  EXPECT_NE(digest_of(shard, std::vector<float>{0.0F}),
            digest_of(shard, std::vector<float>{-0.0F}));
}

struct Recorder final : StepObserver {
  bool wants_statistics() const override { return statistics; }
  void step(const StepView& view) override { seen.push_back(view); }

  bool statistics = true;
  std::vector<StepView> seen;
};

TEST(Statistics, AStepReportsNormAndDigestOfAllItsShards) {
  const Shard a(ParameterSpec{"a", 1, 2, true});
  const Shard b(ParameterSpec{"b", 1, 1, true});
  const std::vector<float> values{1, 2};
  const std::vector<float> gradient_a{3, -4};
  const std::vector<float> gradient_b{12};
  const std::vector<ShardView> views{{&a, true, values, gradient_a},
                                     {&b, true, std::span(values).first(1), gradient_b}};
  Recorder recorder;
  observe_step(recorder, 5, 0.25F, views);
  ASSERT_EQ(recorder.seen.size(), 1U);
  EXPECT_EQ(recorder.seen[0].step, 5U);
  EXPECT_EQ(recorder.seen[0].loss, 0.25F);
  EXPECT_EQ(recorder.seen[0].gradient_norm, 13.0);
  EXPECT_EQ(recorder.seen[0].digest,
            digest_of(a, values) + digest_of(b, std::span(values).first(1)));
  EXPECT_EQ(recorder.seen[0].shards.size(), 2U);

  recorder.statistics = false;
  observe_step(recorder, 6, 0.25F, views);
  EXPECT_EQ(recorder.seen[1].gradient_norm, 0.0);
  EXPECT_EQ(recorder.seen[1].digest, 0U);
}

TEST(Statistics, ALossThatIsNotFiniteIsRefusedWithItsStep) {
  using Limits = std::numeric_limits<float>;
  EXPECT_NO_THROW(require_finite(Limits::max(), 0));
  EXPECT_NO_THROW(require_finite(0.0F, 0));
  for (const float loss : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
    try {
      require_finite(loss, 1234);
      ADD_FAILURE() << "accepted " << loss;
    } catch (const TrainingDiverged& error) {
      const std::string what = error.what();
      EXPECT_NE(what.find("1234"), std::string::npos) << what;
      EXPECT_NE(what.find(std::isnan(loss) ? "nan" : "inf"), std::string::npos) << what;
      EXPECT_NE(error.hint().find("--lr"), std::string::npos);
    }
    Recorder recorder;
    EXPECT_THROW(observe_step(recorder, 1, loss, {}), TrainingDiverged);
    EXPECT_TRUE(recorder.seen.empty());
  }
}

}  // namespace
}  // namespace meshparity
