// A sample of what functions_every_float proves, and the exact answers at the edges.
#include "model/numerics/functions.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "oracle/compare.h"
#include "property_tests/model/numerics/ulp_error.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

float float_of(std::uint64_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
}

double exp_error(float x) { return ulp_error(portable_exp(x), std::exp(static_cast<double>(x))); }
double log_error(float x) { return ulp_error(portable_log(x), std::log(static_cast<double>(x))); }
double tanh_error(float x) {
  return ulp_error(portable_tanh(x), std::tanh(static_cast<double>(x)));
}
double erf_error(float x) { return ulp_error(portable_erf(x), std::erf(static_cast<double>(x))); }

TEST(Math, ErrorsStayBelowTheConstants) {
  constexpr std::uint64_t kStride = 9973;  // a prime: all low bits come up in every binade
  for (std::uint64_t bits = 0; bits <= 0xFFFFFFFFU; bits += kStride) {
    const float x = float_of(bits);
    ASSERT_LE(exp_error(x), exp_max_ulp) << "exp of " << std::hexfloat << x;
    ASSERT_LE(log_error(x), log_max_ulp) << "log of " << std::hexfloat << x;
    ASSERT_LE(tanh_error(x), tanh_max_ulp) << "tanh of " << std::hexfloat << x;
    ASSERT_LE(erf_error(x), erf_max_ulp) << "erf of " << std::hexfloat << x;
  }
}

TEST(Math, ErrorsWhereResultsAreOrdinary) {
  // Most floats have an exponential of 0, 1 or infinity, a tanh or erf of +-1: here are those that
  // have not.
  for (const std::uint64_t sign : {0x00000000U, 0x80000000U}) {
    for (std::uint64_t bits = 0x33000000U; bits <= 0x42D00000U; bits += 499) {
      const float x = float_of(sign | bits);
      ASSERT_LE(exp_error(x), exp_max_ulp) << "exp of " << std::hexfloat << x;
      ASSERT_LE(tanh_error(x), tanh_max_ulp) << "tanh of " << std::hexfloat << x;
      ASSERT_LE(erf_error(x), erf_max_ulp) << "erf of " << std::hexfloat << x;
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
  RC_ASSERT(portable_tanh(x) <= portable_tanh(next));
  RC_ASSERT(portable_erf(x) <= portable_erf(next));
}

RC_GTEST_PROP(Math, TanhAndErfAreOdd, ()) {
  const float x = *rc::gen::oneOf(random::any_float(), random::moderate_float());
  RC_PRE(!std::isnan(x));
  RC_ASSERT(same_float(portable_tanh(-x), -portable_tanh(x)));
  RC_ASSERT(same_float(portable_erf(-x), -portable_erf(x)));
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

/// tanh or erf where the exact answer needs no arithmetic.
void expect_sigmoid_edges(float (*function)(float)) {
  EXPECT_TRUE(same_float(function(0.0F), 0.0F));
  EXPECT_TRUE(same_float(function(-0.0F), -0.0F));
  EXPECT_EQ(function(kInfinity), 1.0F);
  EXPECT_EQ(function(-kInfinity), -1.0F);
  EXPECT_EQ(function(std::numeric_limits<float>::max()), 1.0F);
  EXPECT_EQ(function(std::numeric_limits<float>::lowest()), -1.0F);
  EXPECT_TRUE(std::isnan(function(kNan)));
  EXPECT_TRUE(std::isnan(function(-kNan)));
  EXPECT_TRUE(std::isnan(function(float_of(0x7F800001U))));  // signalling
}

TEST(Math, TanhAtTheEdges) {
  expect_sigmoid_edges(portable_tanh);
  // 1 - tanh(x) is half the distance of the float below 1 at x = 9.0109...
  EXPECT_EQ(portable_tanh(9.010F), 0x1.fffffep-1F);
  EXPECT_EQ(portable_tanh(9.012F), 1.0F);
  for (std::uint64_t bits = 1; bits < 0x00800000U; bits += 997) {
    ASSERT_EQ(portable_tanh(float_of(bits)), float_of(bits)) << bits;  // x - x^3 / 3 rounds to x
  }
}

TEST(Math, ErfAtTheEdges) {
  expect_sigmoid_edges(portable_erf);
  // 1 - erf(x) is half the distance of the float below 1 at x = 3.9192...
  EXPECT_EQ(portable_erf(3.919F), 0x1.fffffep-1F);
  EXPECT_EQ(portable_erf(3.920F), 1.0F);
  // 2 / sqrt(pi) = 1.128... times the smallest floats, rounded.
  EXPECT_EQ(portable_erf(0x1p-149F), 0x1p-149F);
  EXPECT_EQ(portable_erf(3 * 0x1p-149F), 3 * 0x1p-149F);
  EXPECT_EQ(portable_erf(10 * 0x1p-149F), 11 * 0x1p-149F);
}

TEST(Math, TanhAndErfKnownAnswers) {
  // Computed with 40 digits and rounded once.
  struct Known {
    float x, tanh, erf;
  };
  constexpr Known kKnown[] = {
      {0x1p-20F, 0x1p-20F, 0x1.20dd76p-20F},       {0x1p-12F, 0x1p-12F, 0x1.20dd74p-12F},
      {0x1.4p-3F, 0x1.3d6bc8p-3F, 0x1.662a0cp-3F}, {0.5F, 0x1.d9353ep-2F, 0x1.0a7ef6p-1F},
      {1.0F, 0x1.85efacp-1F, 0x1.af767ap-1F},      {1.5F, 0x1.cf6f98p-1F, 0x1.eea556p-1F},
      {2.0F, 0x1.ed9506p-1F, 0x1.fd9ae2p-1F},      {3.0F, 0x1.fd77d2p-1F, 0x1.fffd1ap-1F},
  };
  for (const Known& known : kKnown) {
    EXPECT_EQ(portable_tanh(known.x), known.tanh) << known.x;
    EXPECT_EQ(portable_erf(known.x), known.erf) << known.x;
  }
}

TEST(Math, GeluAtTheEdges) {
  EXPECT_TRUE(same_float(portable_gelu(0.0F), 0.0F));
  EXPECT_TRUE(same_float(portable_gelu(-0.0F), -0.0F));
  EXPECT_EQ(portable_gelu(0x1p-148F), 0x1p-149F);
  EXPECT_EQ(portable_gelu(kInfinity), kInfinity);
  EXPECT_TRUE(same_float(portable_gelu(-kInfinity), -0.0F));
  EXPECT_TRUE(std::isnan(portable_gelu(kNan)));
  EXPECT_EQ(portable_gelu(std::numeric_limits<float>::max()), std::numeric_limits<float>::max());
  EXPECT_TRUE(same_float(portable_gelu(std::numeric_limits<float>::lowest()), -0.0F));
  EXPECT_EQ(portable_gelu_derivative(0.0F), 0.5F);
  EXPECT_EQ(portable_gelu_derivative(kInfinity), 1.0F);
  EXPECT_TRUE(same_float(portable_gelu_derivative(-kInfinity), -0.0F));
  EXPECT_TRUE(std::isnan(portable_gelu_derivative(kNan)));
  EXPECT_EQ(portable_gelu_derivative(std::numeric_limits<float>::max()), 1.0F);
  EXPECT_TRUE(same_float(portable_gelu_derivative(std::numeric_limits<float>::lowest()), -0.0F));
}

TEST(Math, GeluAgainstTheHyperbolicTangent) {
  // x / 2 (1 + tanh u), in `long double` so that 1 + tanh u keeps enough digits.
  constexpr long double kSqrt2OverPi = 0.797884560802865355879892119868763737L;
  for (float x = -4.0F; x <= 8.0F; x += 0x1.234p-12F) {
    const long double wide = x;
    const long double u = kSqrt2OverPi * (wide + 0.044715L * wide * wide * wide);
    const long double tanh = std::tanh(u);
    const long double slope = kSqrt2OverPi * (1 + 3 * 0.044715L * wide * wide);
    const auto value = static_cast<double>(wide / 2 * (1 + tanh));
    const auto derivative =
        static_cast<double>((1 + tanh) / 2 + wide / 2 * (1 - tanh * tanh) * slope);
    ASSERT_LE(ulp_error(portable_gelu(x), value), gelu_max_ulp) << x;
    ASSERT_LE(ulp_error(portable_gelu_derivative(x), derivative), gelu_derivative_max_ulp) << x;
  }
}

TEST(Math, CosineOfMultiplesOfPi) {
  EXPECT_EQ(portable_cos_pi(0.0), 1.0);
  EXPECT_EQ(portable_cos_pi(0.5), 0.0);
  EXPECT_EQ(portable_cos_pi(1.0), -1.0);
  constexpr long double kPi = 3.14159265358979323846264338327950288L;
  for (int i = 0; i <= 100000; ++i) {
    const double q = i / 100000.0;
    const long double exact = std::cos(kPi * static_cast<long double>(q));
    ASSERT_LE(std::abs(static_cast<long double>(portable_cos_pi(q)) - exact), 0x1p-52L) << q;
  }
}

TEST(Math, NormalQuantile) {
  EXPECT_EQ(normal_quantile(0.5), 0.0);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054235524594, 1e-14);
  double before = normal_quantile(0x1p-25);
  for (std::uint32_t i = 0; i < 1U << 24; i += 997) {
    const double u = (i + 0.5) * 0x1p-24;
    const double z = normal_quantile(u);
    ASSERT_GE(z, before) << u;
    ASSERT_EQ(normal_quantile(1.0 - u), -z) << u;
    const long double wide = z;
    const long double below = std::erfc(-wide * 0.707106781186547524400844362104849039L) / 2;
    const long double density =
        std::exp(-wide * wide / 2) * 0.398942280401432677939946059934381868L;
    ASSERT_LE(std::abs((below - u) / (density * wide)), normal_quantile_max_error) << u;
    before = z;
  }
}

}  // namespace
}  // namespace meshparity
