// The comparators: what they accept, and that a planted difference is found and named.

#include "oracle/compare.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

ParameterSpec matrix_spec(std::size_t rows, std::size_t columns) {
  ParameterSpec spec;
  spec.name = "hidden.0.weight";
  spec.rows = rows;
  spec.columns = columns;
  return spec;
}

TEST(UlpDistance, CountsFloats) {
  EXPECT_EQ(ulp_distance(1.0F, 1.0F), 0U);
  EXPECT_EQ(ulp_distance(1.0F, 1 + 0x1p-23F), 1U);
  EXPECT_EQ(ulp_distance(1.0F, 1 - 0x1p-24F), 1U);
  EXPECT_EQ(ulp_distance(0.0F, -0.0F), 1U);
  EXPECT_EQ(ulp_distance(0x1p-149F, -0x1p-149F), 3U);
  EXPECT_EQ(ulp_distance(1.0F, 2.0F), 1U << 23);
  EXPECT_EQ(ulp_distance(std::numeric_limits<float>::max(), kInfinity), 1U);
  EXPECT_EQ(ulp_distance(kInfinity, -kInfinity), 0xFF000001U);
  EXPECT_EQ(ulp_distance(kNan, -kNan), 0U);
  EXPECT_EQ(ulp_distance(kNan, 1.0F), kNotComparable);
}

RC_GTEST_PROP(UlpDistance, IsTheNumberOfStepsUp, (std::uint32_t bits)) {
  const auto low = std::bit_cast<float>(bits);
  RC_PRE(std::isfinite(low) && low != 0);
  const auto steps = *rc::gen::inRange<std::uint64_t>(0, 20);
  float high = low;
  for (std::uint64_t i = 0; i < steps; ++i) high = std::nextafter(high, kInfinity);
  // nextafter counts the two zeros as one number.
  const std::uint64_t zeros = low < 0 && (high > 0 || std::bit_cast<std::uint32_t>(high) == 0);
  RC_ASSERT(ulp_distance(low, high) == steps + zeros);
  RC_ASSERT(ulp_distance(high, low) == steps + zeros);
}

TEST(Exact, SaysWhatDiffers) {
  std::vector<float> expected(600, 0.5F);
  std::vector<float> actual = expected;
  const ParameterSpec spec = matrix_spec(10, 60);
  EXPECT_FALSE(first_difference(2, spec, Exact(expected), actual));

  expected[517] = 0.1875F;
  actual[517] = 0.1875F + 0x1p-26F;
  actual[518] = 9;
  const auto found = first_difference(2, spec, Exact(expected), actual);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step, 2U);
  EXPECT_EQ(found->tensor, "hidden.0.weight");
  EXPECT_EQ(found->index, 517U);
  EXPECT_FALSE(found->rank);
  EXPECT_EQ(found->expected, 0.1875F);
  EXPECT_EQ(found->actual, 0.1875F + 0x1p-26F);
  EXPECT_EQ(found->ulps, 1U);
  EXPECT_EQ(found->text,
            "step 2, hidden.0.weight[517] (row 8, column 37): expected 0x1.8p-3 (0.1875), got "
            "0x1.800002p-3 (0.187500015), 1 ulp apart");
}

TEST(Exact, NamesTheOwnerAndTheIndexInTheWholeTensor) {
  std::vector<float> whole(12);
  for (std::size_t i = 0; i < whole.size(); ++i) whole[i] = static_cast<float>(i);
  // Rows 1..2, columns 2..3 of a (3, 4) matrix: elements 6, 7, 10, 11; of them the last three.
  Shard shard(matrix_spec(3, 4), {1, 3}, {2, 4});
  shard.flat = {1, 4};
  std::vector<float> part{7, 10, 11};
  EXPECT_FALSE(first_difference(0, shard, 3, Exact(whole), part));
  part[1] = -10;
  const auto found = first_difference(0, shard, 3, Exact(whole), part);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->index, 10U);
  EXPECT_EQ(found->rank, 3U);
  EXPECT_EQ(found->text,
            "step 0, hidden.0.weight[10] (row 2, column 2), rank 3: expected 0x1.4p+3 (10), got "
            "-0x1.4p+3 (-10), " +
                std::to_string(ulp_distance(10, -10)) + " ulp apart");
}

TEST(Exact, TellsZerosApartAndNotNans) {
  const std::vector<float> expected{0.0F, kNan, kInfinity};
  const ParameterSpec spec = matrix_spec(1, 3);
  std::vector<float> actual{0.0F, std::bit_cast<float>(0xFFC00001U), kInfinity};
  EXPECT_FALSE(first_difference(0, spec, Exact(expected), actual));
  actual[1] = 1;
  EXPECT_NE(first_difference(0, spec, Exact(expected), actual)->text.find("not a number"),
            std::string::npos);
  actual[0] = -0.0F;
  EXPECT_EQ(first_difference(0, spec, Exact(expected), actual)->index, 0U);
}

TEST(Exact, VectorsAndScalarsHaveNoRows) {
  ParameterSpec bias = matrix_spec(1, 3);
  bias.name = "output.bias";
  bias.is_vector = true;
  const std::vector<float> expected{1, 2, 3};
  const std::vector<float> actual{1, 2, 4};
  EXPECT_EQ(
      first_difference(1, bias, Exact(expected), actual)->text.find("step 1, output.bias[2]:"), 0U);
  const std::vector<float> loss{2};
  EXPECT_EQ(first_difference(1, scalar_spec("loss"), Exact(loss), std::vector<float>{3})
                ->text.find("step 1, loss: expected 0x1p+1 (2), got 0x1.8p+1 (3), "),
            0U);
}

/// A rank's random part of a random matrix.
Shard random_shard() {
  const auto rows = *rc::gen::inRange<std::size_t>(1, 8);
  const auto columns = *rc::gen::inRange<std::size_t>(1, 8);
  const auto part = [](Range of) {
    const auto begin = *rc::gen::inRange<std::size_t>(of.begin, of.end);
    return Range{begin, *rc::gen::inRange<std::size_t>(begin + 1, of.end + 1)};
  };
  Shard shard(matrix_spec(rows, columns), part({0, rows}), part({0, columns}));
  shard.flat = part(shard.flat);
  return shard;
}

RC_GTEST_PROP(Exact, FindsTheFirstPlantedDifference, ()) {
  const Shard shard = random_shard();
  const auto bits = *rc::gen::container<std::vector<std::uint32_t>>(
      shard.spec.size(), rc::gen::arbitrary<std::uint32_t>());
  std::vector<float> whole;
  for (const std::uint32_t word : bits) whole.push_back(std::bit_cast<float>(word));
  std::vector<float> part;
  for (std::size_t i = 0; i < shard.size(); ++i) part.push_back(whole[shard.global_index(i)]);
  RC_ASSERT_FALSE(first_difference(7, shard, 5, Exact(whole), part));

  const auto first = *rc::gen::inRange<std::size_t>(0, shard.size());
  const auto second = *rc::gen::inRange<std::size_t>(first, shard.size());
  for (const std::size_t i : {first, second}) part[i] = std::isnan(part[i]) ? 1.0F : kNan;
  if (first == second) part[first] = std::isnan(whole[shard.global_index(first)]) ? 1.0F : kNan;
  const auto found = first_difference(7, shard, 5, Exact(whole), part);
  RC_ASSERT(found.has_value());
  RC_ASSERT(found->index == shard.global_index(first));
  RC_ASSERT(found->rank == std::size_t{5});
  RC_ASSERT(found->ulps == kNotComparable);
}

TEST(RoundingBound, AcceptsUpToTheBound) {
  const Bounded oracle{{1.0, 2.0, 3.0}, {0x1p-20, 0.0, std::nan("")}};
  const RoundingBound bound(oracle);
  EXPECT_TRUE(bound.accepts(0, 1));
  EXPECT_TRUE(bound.accepts(0, 1 + 0x1p-20F));
  EXPECT_TRUE(bound.accepts(0, 1 - 0x1p-20F));
  EXPECT_FALSE(bound.accepts(0, 1 + 0x1p-20F + 0x1p-23F));
  EXPECT_FALSE(bound.accepts(0, kNan));
  EXPECT_FALSE(bound.accepts(0, kInfinity));
  EXPECT_TRUE(bound.accepts(1, 2));
  EXPECT_FALSE(bound.accepts(1, 2 + 0x1p-22F));
  EXPECT_FALSE(bound.accepts(2, 3.5F));
  EXPECT_EQ(bound.ratio(0, 1 + 0x1p-21F), 0.5);
  EXPECT_EQ(bound.ratio(1, 2), 0);
  EXPECT_TRUE(std::isinf(bound.ratio(1, 3)));
  EXPECT_EQ(bound.worst_ratio(std::vector<float>{1 - 0x1p-22F, 2, 3}), 0.25);
  EXPECT_TRUE(std::isinf(bound.worst_ratio(std::vector<float>{kNan, 2, 3})));
}

TEST(RoundingBound, SaysHowFar) {
  const Bounded oracle{{1.0, -0.5}, {0x1p-20, 0x1p-20}};
  const std::vector<float> actual{1, -0.5F + 0x1p-18F};
  const Shard shard(matrix_spec(1, 2));
  const auto found = first_difference(4, shard, 1, RoundingBound(oracle), actual);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->index, 1U);
  EXPECT_EQ(found->expected, -0.5F);
  EXPECT_EQ(found->text,
            "step 4, hidden.0.weight[1] (row 0, column 1), rank 1: expected -0x1p-1 (-0.5) within "
            "9.54e-07, got -0x1.ffffp-2 (-0.499996185), off by 3.81e-06: 4 bounds");
  EXPECT_FALSE(
      first_difference(4, shard.spec, RoundingBound(oracle), std::vector<float>{1, -0.5F}));
}

TEST(Compare, RefusesSizesThatDoNotFit) {
  const std::vector<float> four(4);
  const std::vector<float> three(3);
  const ParameterSpec spec = matrix_spec(2, 2);
  EXPECT_THROW(first_difference(0, spec, Exact(four), three), std::invalid_argument);
  EXPECT_THROW(first_difference(0, spec, Exact(three), four), std::invalid_argument);
  EXPECT_THROW(first_difference(0, Shard(spec, {0, 1}, {0, 2}), 0, Exact(four), four),
               std::invalid_argument);
  const Bounded oracle{{1, 2}, {0, 0}};
  EXPECT_THROW(static_cast<void>(RoundingBound(oracle).worst_ratio(three)), std::invalid_argument);
}

}  // namespace
}  // namespace meshparity
