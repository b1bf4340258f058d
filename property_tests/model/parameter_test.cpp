#include "model/parameter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

ParameterSpec random_spec() {
  ParameterSpec spec;
  spec.name = *rc::gen::element<std::string>("embedding.weight", "hidden.0.bias", "x");
  spec.rows = *from_to(1, 12);
  spec.columns = *from_to(1, 9);
  spec.initial = {Initial::Kind::uniform, 0.02F + std::abs(*random::moderate_float())};
  return spec;
}

ParameterSpec uniform_spec(const std::string& name, std::size_t size, float k) {
  return {.name = name, .rows = size, .columns = size, .initial = {Initial::Kind::uniform, k}};
}

/// The part of a random block that one of several fully sharded ranks owns.
Shard random_shard(const ParameterSpec& spec) {
  Shard shard(spec, random::random_run(spec.rows), random::random_run(spec.columns));
  const std::size_t parts = *from_to(1, 5);
  return share_of(shard, parts, *from_to(0, parts - 1));
}

std::vector<float> filled(const Shard& shard, std::uint64_t seed) {
  std::vector<float> values(shard.size());
  InitialParameters(seed).fill(shard, values);
  return values;
}

TEST(Parameter, WholeShardIsTheParameterInOrder) {
  const Shard shard(ParameterSpec{"w", 3, 5});
  ASSERT_EQ(shard.size(), 15U);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(shard.global_index(i), i);
}

TEST(Parameter, IndicesOfABlockByHand) {
  Shard shard(ParameterSpec{"w", 4, 5}, {1, 3}, {2, 5});  // rows 1-2, columns 2-4
  shard.flat = {2, 5};
  EXPECT_EQ(shard.global_index(0), 1U * 5 + 4);
  EXPECT_EQ(shard.global_index(1), 2U * 5 + 2);
  EXPECT_EQ(shard.global_index(2), 2U * 5 + 3);
}

RC_GTEST_PROP(Parameter, ShardsOfAMeshHoldEveryElementOnce, ()) {
  const ParameterSpec spec = random_spec();
  std::vector<Range> row_blocks = random::random_split({0, spec.rows}, *from_to(1, 4));
  std::vector<Range> column_blocks = random::random_split({0, spec.columns}, *from_to(1, 4));
  std::vector<std::size_t> holders(spec.size(), 0);
  for (const Range rows : row_blocks) {
    for (const Range columns : column_blocks) {
      const Shard block(spec, rows, columns);
      for (const Range flat : random::random_split(block.flat, *from_to(1, 5))) {
        Shard shard = block;
        shard.flat = flat;
        for (std::size_t i = 0; i < shard.size(); ++i) {
          const std::size_t index = shard.global_index(i);
          RC_ASSERT(index < spec.size());
          RC_ASSERT(rows.begin <= index / spec.columns && index / spec.columns < rows.end);
          RC_ASSERT(columns.begin <= index % spec.columns && index % spec.columns < columns.end);
          ++holders[index];
        }
      }
    }
  }
  RC_ASSERT(holders == std::vector<std::size_t>(spec.size(), 1));
}

RC_GTEST_PROP(Parameter, TheShardOfTheInitIsTheInitOfTheShard, ()) {
  const ParameterSpec spec = random_spec();
  const std::uint64_t seed = *random::any_seed();
  const std::vector<float> whole = filled(Shard(spec), seed);
  const Shard shard = random_shard(spec);
  RC_CLASSIFY(shard.size() == 0, "empty");
  const std::vector<float> part = filled(shard, seed);
  for (std::size_t i = 0; i < part.size(); ++i) {
    RC_ASSERT(same_float(part[i], whole[shard.global_index(i)]));
  }
}

RC_GTEST_PROP(Parameter, InitialValuesLieInTheirRange, ()) {
  const ParameterSpec spec = random_spec();
  const float k = spec.initial.size;
  for (const float value : filled(Shard(spec), *random::any_seed())) {
    RC_ASSERT(-k <= value);  // the lower end itself has a chance of 2^-24
    RC_ASSERT(value < k);
  }
}

TEST(Parameter, InitialValuesFillTheirRange) {
  const ParameterSpec spec = uniform_spec("w", 64, 0.5F);
  const std::vector<float> values = filled(Shard(spec), 42);
  double sum = 0;
  double squares = 0;
  float least = 0;
  float most = 0;
  for (const float value : values) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
    least = std::min(least, value);
    most = std::max(most, value);
  }
  // Six standard deviations of the mean of n uniform numbers, and of the mean of their squares.
  const auto n = static_cast<double>(values.size());
  EXPECT_LT(std::abs(sum / n), 6 * std::sqrt(1.0 / 12 / n));
  EXPECT_LT(std::abs(squares / n - 1.0 / 12), 6 * std::sqrt((1.0 / 80 - 1.0 / 144) / n));
  EXPECT_LT(least, -0.49F);
  EXPECT_GT(most, 0.49F);
}

TEST(Parameter, InitialValuesDependOnNameIndexAndSeed) {
  const ParameterSpec a = uniform_spec("hidden.0.weight", 16, 1.0F);
  ParameterSpec b = a;
  b.name = "hidden.1.weight";
  std::set<float> seen;
  for (const ParameterSpec& spec : {a, b}) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
      for (const float value : filled(Shard(spec), seed)) seen.insert(value);
    }
  }
  // 1024 draws of 2^24 values: 0.03 coincidences are to be expected.
  EXPECT_GE(seen.size(), 1022U);
}

TEST(Parameter, InitialValuesScaleWithTheirRange) {
  const std::vector<float> values = filled(Shard(uniform_spec("w", 8, 1.0F)), 3);
  const std::vector<float> narrow = filled(Shard(uniform_spec("w", 8, 0.125F)), 3);
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(narrow[i], values[i] / 8);
}

TEST(Parameter, ConstantInitialValuesAreAllTheSame) {
  ParameterSpec spec = uniform_spec("gain", 3, 1.0F);
  spec.initial = {Initial::Kind::constant, 1.0F};
  EXPECT_EQ(filled(Shard(spec), 3), std::vector<float>(9, 1.0F));
}

}  // namespace
}  // namespace meshparity
