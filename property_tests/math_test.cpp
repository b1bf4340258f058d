// A sample of what math_every_float proves, and the exact answers at the edges.
#include "model/math.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "oracle/compare.h"
#include "property_tests/random_values.h"
#include "property_tests/ulp_error.h"

namespace meshparity {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float float_of(std::uint64_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

double exp_error(float x) { return ulp_error(portable_exp(x), std::exp(static_cast<double>(x))); }
double log_error(float x) { return ulp_error(portable_log(x), std::log(static_cast<double>(x))); }

TEST(Math, ErrorsStayBelowTheConstants) {
  constexpr std::uint64_t kStride = 9973;  // a prime: all low bits come up in every binade
  for (std::uint64_t bits = 0; bits <= 0xFFFFFFFFU; bits += kStride) {
    const float x = float_of(bits);
    ASSERT_LE(exp_error(x), exp_max_ulp) << "exp of " << std::hexfloat << x;
    ASSERT_LE(log_error(x), log_max_ulp) << "log of " << std::hexfloat << x;
  }
}

TEST(Math, ExpErrorsWhereResultsAreOrdinary) {
  // Most floats have an exponential of 0, 1 or infinity: here are those that have not.
  for (const std::uint64_t sign : {0x00000000U, 0x80000000U}) {
    for (std::uint64_t bits = 0x33000000U; bits <= 0x42D00000U; bits += 499) {
      const float x = float_of(sign | bits);
      ASSERT_LE(exp_error(x), exp_max_ulp) << "exp of " << std::hexfloat << x;
    }
  }
}

RC_GTEST_PROP(Math, NeighboursKeepTheirOrder, ()) {
  const float x = *rc::gen::oneOf(
      random::any_float(), random::moderate_float(),
      rc::gen::map(random::moderate_float(), [](float unit) { return unit * 52.0F; }));
  RC_PRE(!std::isnan(x) && x < kInfinity);
  const float next = std::nextafter(x, kInfinity);
  RC_ASSERT(portable_exp(x) <= portable_exp(next));
  if (x >= 0.0F) RC_ASSERT(portable_log(x) <= portable_log(next));
}

TEST(Math, ExpAtTheEdges) {
  EXPECT_EQ(portable_exp(0.0F), 1.0F);
  EXPECT_EQ(portable_exp(-0.0F), 1.0F);
  EXPECT_EQ(portable_exp(0x1p-149F), 1.0F);
  EXPECT_EQ(portable_exp(kInfinity), kInfinity);
  EXPECT_TRUE(same_float(portable_exp(-kInfinity), 0.0F));
  EXPECT_TRUE(std::isnan(portable_exp(kNan)));
  EXPECT_TRUE(std::isnan(portable_exp(-kNan)));
  EXPECT_TRUE(same_float(portable_exp(std::numeric_limits<float>::lowest()), 0.0F));
  EXPECT_EQ(portable_exp(std::numeric_limits<float>::max()), kInfinity);
}

TEST(Math, ExpOverflowsWhereRoundingDoes) {
  const float last = 0x1.62e42ep6F;  // the largest float below 128 ln(2)
  EXPECT_EQ(portable_exp(last), static_cast<float>(std::exp(static_cast<double>(last))));
  EXPECT_LT(portable_exp(last), kInfinity);
  EXPECT_EQ(portable_exp(std::nextafter(last, kInfinity)), kInfinity);
}

TEST(Math, ExpUnderflowsThroughTheSubnormals) {
  // 2^-149 is the smallest float, and half of it rounds to 0: ln(2^-150) = -103.97...
  EXPECT_EQ(portable_exp(-103.0F), 0x1p-149F);
  EXPECT_EQ(portable_exp(-103.9F), 0x1p-149F);
  EXPECT_TRUE(same_float(portable_exp(-104.0F), 0.0F));
  std::size_t different = 0;
  float before = 0.0F;
  for (int i = 0; i < 17 * 256; ++i) {
    const float x = -104.0F + static_cast<float>(i) * 0x1p-8F;
    const float result = portable_exp(x);
    EXPECT_EQ(result, static_cast<float>(std::exp(static_cast<double>(x)))) << x;
    if (result != before) ++different;
    before = result;
  }
  EXPECT_GT(different, 2000U);  // not flushed to 0
}

TEST(Math, LogAtTheEdges) {
  EXPECT_TRUE(same_float(portable_log(1.0F), 0.0F));
  EXPECT_EQ(portable_log(0.0F), -kInfinity);
  EXPECT_EQ(portable_log(-0.0F), -kInfinity);
  EXPECT_EQ(portable_log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(portable_log(-1.0F)));
  EXPECT_TRUE(std::isnan(portable_log(-0x1p-149F)));
  EXPECT_TRUE(std::isnan(portable_log(-kInfinity)));
  EXPECT_TRUE(std::isnan(portable_log(kNan)));
  EXPECT_TRUE(std::isnan(portable_log(-kNan)));
  EXPECT_EQ(portable_log(std::numeric_limits<float>::max()), 0x1.62e43p6F);
}

TEST(Math, LogOfPowersOfTwoAndSubnormals) {
  for (int exponent = -149; exponent <= 127; ++exponent) {
    const float x = std::ldexp(1.0F, exponent);
    EXPECT_EQ(portable_log(x), static_cast<float>(exponent * 0x1.62e42fefa39efp-1)) << exponent;
  }
  for (std::uint64_t bits = 1; bits < 0x00800000U; bits += 997) {
    ASSERT_LE(log_error(float_of(bits)), log_max_ulp) << bits;
  }
}

TEST(Math, LogNearOne) {
  for (std::uint64_t bits = 0x3F7F0000U; bits <= 0x3F810000U; ++bits) {
    ASSERT_LE(log_error(float_of(bits)), log_max_ulp) << std::hexfloat << float_of(bits);
  }
}

}  // namespace
}  // namespace meshparity
