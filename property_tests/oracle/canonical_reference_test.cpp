// The literal transcription of the canonical sum against examples worked by hand.

#include "oracle/canonical_reference.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <stdexcept>
#include <vector>

namespace meshparity::reference {
namespace {

constexpr float kUnit = 0x1p-24F;  // half an ULP of 1: 1 + kUnit rounds back to 1

/// Any finite float that leaves room for a sum of a few.
rc::Gen<std::vector<float>> terms_of(std::size_t count) {
  return rc::gen::container<std::vector<float>>(
      count, rc::gen::map(rc::gen::inRange(-(1 << 24), 1 << 24),
                          [](int mantissa) { return static_cast<float>(mantissa) * 0x1p-20F; }));
}

TEST(CanonicalReference, SevenTermsByHand) {
  const std::vector<float> t{1, kUnit, kUnit, kUnit, kUnit, kUnit, kUnit};
  // Ties go to the even neighbour: 1 + 3u and 1 + 5u both become 1 + 4u.
  const std::array<float, 7> by_grain{
      1 + 4 * kUnit,  // ((1+u) + (u+u)) + ((u+u) + u) = (1 + 2u) + 3u
      1 + 4 * kUnit,  // ((1+u) + (u+u)) + ((u+u) + u)
      1 + 4 * kUnit,  // ((1+u+u) + (u+u+u)) + u
      1 + 4 * kUnit,  // (1+u+u+u) + (u+u+u)
      1 + 2 * kUnit,  // (1+u+u+u+u) + (u+u)
      1,              // (1+u+u+u+u+u) + u
      1,
  };
  for (std::size_t grain = 1; grain <= 7; ++grain) {
    EXPECT_EQ(canonical_sum(t, grain), by_grain[grain - 1]) << "grain " << grain;
  }
  EXPECT_EQ(canonical_sum(t, 1000), 1);
}

RC_GTEST_PROP(CanonicalReference, TreesUpToEightLeaves, ()) {
  const std::vector<float> t = *terms_of(8);
  const auto sum = [&](std::size_t n) { return canonical_sum(std::span(t).first(n), 1); };
  RC_ASSERT(sum(0) == 0.0F);
  RC_ASSERT(sum(1) == t[0]);
  RC_ASSERT(sum(2) == t[0] + t[1]);
  RC_ASSERT(sum(3) == (t[0] + t[1]) + t[2]);
  const float four = (t[0] + t[1]) + (t[2] + t[3]);
  RC_ASSERT(sum(4) == four);
  RC_ASSERT(sum(5) == four + t[4]);
  RC_ASSERT(sum(6) == four + (t[4] + t[5]));
  RC_ASSERT(sum(7) == four + ((t[4] + t[5]) + t[6]));
  RC_ASSERT(sum(8) == four + ((t[4] + t[5]) + (t[6] + t[7])));
}

RC_GTEST_PROP(CanonicalReference, LeavesAreChains, ()) {
  const std::vector<float> t = *terms_of(7);
  RC_ASSERT(canonical_sum(t, 3) == (((t[0] + t[1]) + t[2]) + ((t[3] + t[4]) + t[5])) + t[6]);
}

TEST(CanonicalReference, ProductsAreFused) {
  const float x = 1 + 0x1p-12F;  // x * x = 1 + 2^-11 + 2^-24 is a tie and rounds down
  const std::vector<float> a{x, x};
  const std::vector<float> b{x, -x};
  EXPECT_EQ(canonical_dot(a, b, 2), -0x1p-24F);  // only a fused one sees the rest
  EXPECT_EQ(canonical_dot(a, b, 1), 0.0F);       // two leaves, each rounded
}

TEST(CanonicalReference, SumsStartAtPlusZero) {
  const std::vector<float> zeros{-0.0F, -0.0F};
  EXPECT_FALSE(std::signbit(canonical_sum(zeros, 1)));
  EXPECT_FALSE(std::signbit(canonical_row_sum(zeros, 2)));
  EXPECT_FALSE(std::signbit(canonical_sum(std::vector<float>{}, 1)));
}

RC_GTEST_PROP(CanonicalReference, RowSumsHaveSixteenLanes, ()) {
  const std::vector<float> t = *terms_of(37);
  // One leaf of 35 terms, one of 2: lanes 0..2 of the first hold three terms, the others two.
  std::array<float, 16> lanes{};
  for (std::size_t lane = 0; lane < 16; ++lane) {
    lanes[lane] = t[lane] + t[lane + 16];
    if (lane < 3) lanes[lane] = lanes[lane] + t[lane + 32];
  }
  std::array<float, 8> eighths{};
  for (std::size_t i = 0; i < 8; ++i) eighths[i] = lanes[2 * i] + lanes[2 * i + 1];
  const float left = (eighths[0] + eighths[1]) + (eighths[2] + eighths[3]);
  const float right = (eighths[4] + eighths[5]) + (eighths[6] + eighths[7]);
  RC_ASSERT(canonical_row_sum(t, 35) == (left + right) + (t[35] + t[36]));

  const auto one = [](std::size_t) { return 1.0F; };
  const auto term = [&](std::size_t i) { return t[i]; };
  RC_ASSERT(canonical_row_dot(t.size(), 35, term, one) == canonical_row_sum(t, 35));
}

TEST(CanonicalReference, NodesByHand) {
  EXPECT_EQ(canonical_nodes({0, 7}, 7), (std::vector<meshparity::Range>{{0, 7}}));
  EXPECT_EQ(canonical_nodes({1, 6}, 7), (std::vector<meshparity::Range>{{1, 2}, {2, 4}, {4, 6}}));
  EXPECT_EQ(canonical_nodes({4, 7}, 7), (std::vector<meshparity::Range>{{4, 7}}));
  EXPECT_EQ(canonical_nodes({3, 7}, 7), (std::vector<meshparity::Range>{{3, 4}, {4, 7}}));
  EXPECT_TRUE(canonical_nodes({3, 3}, 7).empty());
}

RC_GTEST_PROP(CanonicalReference, NodesTileTheirRun, ()) {
  const auto leaves = *rc::gen::inRange<std::size_t>(1, 40);
  const auto begin = *rc::gen::inRange<std::size_t>(0, leaves + 1);
  const auto end = *rc::gen::inRange<std::size_t>(begin, leaves + 1);
  std::size_t at = begin;
  for (const meshparity::Range& node : canonical_nodes({begin, end}, leaves)) {
    RC_ASSERT(node.begin == at);
    RC_ASSERT(node.end > node.begin);
    at = node.end;
  }
  RC_ASSERT(at == end);
}

TEST(CanonicalReference, RefusesWhatMakesNoSense) {
  const std::vector<float> one{1};
  EXPECT_THROW(canonical_sum(one, 0), std::invalid_argument);
  EXPECT_THROW(canonical_row_sum(one, 0), std::invalid_argument);
  EXPECT_THROW(canonical_dot(one, std::vector<float>{}, 1), std::invalid_argument);
}

}  // namespace
}  // namespace meshparity::reference
