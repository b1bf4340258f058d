#pragma once

#include <cstdint>

/// The functions of functions.h for loops that the compiler turns into vector instructions: without
/// branches or calls, and with the same operations for every element, so that scalar code and
/// lanes of any width give the same bits.
///
/// Everything here has internal linkage and uses builtins instead of the standard library: this
/// header is compiled once per instruction set, and a shared inline function compiled for the
/// widest could be the copy that the linker keeps for all.
///
/// All work in binary64, where the method's error is far below half a unit of binary32, and round
/// once. A NaN runs through the arithmetic and stays one.
#define MESHPARITY_INLINE [[gnu::always_inline]] static inline

namespace meshparity {

/// (e^r - 1) / r for |r| <= ln(2) / 2: Taylor's series. What is left out is below
/// 0.35^10 / 10! < 2^-36 of e^r.
MESHPARITY_INLINE double exp_series(double r) {
  double sum = 1.0 / 362880;
  sum = __builtin_fma(sum, r, 1.0 / 40320);
  sum = __builtin_fma(sum, r, 1.0 / 5040);
  sum = __builtin_fma(sum, r, 1.0 / 720);
  sum = __builtin_fma(sum, r, 1.0 / 120);
  sum = __builtin_fma(sum, r, 1.0 / 24);
  sum = __builtin_fma(sum, r, 1.0 / 6);
  sum = __builtin_fma(sum, r, 0.5);
  return __builtin_fma(sum, r, 1.0);
}

/// e^x = power * e^r with |r| <= ln(2) / 2 and a power of two.
struct ExpParts {
  double power;
  double r;
};

/// For |x| < 700, so that the power is a normal number.
MESHPARITY_INLINE ExpParts exp_parts(double x) {
  // ln(2) in two parts, so that n * upper part is exact.
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2Upper = 0x1.62e42fefa38p-1;
  constexpr double kLn2Lower = 0x1.ef35793c7673p-45;
  // Added to n, it leaves n in the last bits; there the exponent 2^n is made from it, because few
  // instruction sets convert vectors of 64-bit integers.
  constexpr double kRoundToInteger = 0x1.8p52;
  const double shifted = x * kLog2E + kRoundToInteger;
  const double n = shifted - kRoundToInteger;
  const double r = __builtin_fma(-n, kLn2Lower, __builtin_fma(-n, kLn2Upper, x));
  const std::uint64_t power = (__builtin_bit_cast(std::uint64_t, shifted) + 1023) << 52;
  return {__builtin_bit_cast(double, power), r};
}

/// portable_exp.
MESHPARITY_INLINE float portable_exp_inline(float x) {
  // Beyond these the result is +infinity or +0 already; the clamp keeps the exponent in range.
  const double wide = x;
  const double below = wide > 100.0 ? 100.0 : wide;
  const double clamped = below < -110.0 ? -110.0 : below;
  const ExpParts parts = exp_parts(clamped);
  return static_cast<float>(__builtin_fma(exp_series(parts.r), parts.r, 1.0) * parts.power);
}

/// portable_log.
MESHPARITY_INLINE float portable_log_inline(float x) {
  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)): the offset moves the cut from 1 to sqrt(1/2).
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDULL;
  constexpr std::uint64_t kFraction = 0x000FFFFFFFFFFFFFULL;
  const std::uint64_t shifted =
      __builtin_bit_cast(std::uint64_t, static_cast<double>(x)) - kSqrtHalf;
  const double m = __builtin_bit_cast(double, (shifted & kFraction) + kSqrtHalf);
  // e + 1024 becomes the last bits of 2^52: again without a conversion.
  constexpr std::uint64_t kBias = 1024;
  constexpr std::uint64_t kTwoTo52 = 0x4330000000000000ULL;
  const std::uint64_t biased = (shifted + (kBias << 52)) >> 52;
  const double e = __builtin_bit_cast(double, biased | kTwoTo52) - (0x1p52 + 1024.0);

  // ln(m) = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1) / (m + 1), |s| < 0.172;
  // the rest after s^15 is below 2^-44 of the whole.
  const double s = (m - 1.0) / (m + 1.0);
  const double s2 = s * s;
  double sum = 1.0 / 15;
  sum = __builtin_fma(sum, s2, 1.0 / 13);
  sum = __builtin_fma(sum, s2, 1.0 / 11);
  sum = __builtin_fma(sum, s2, 1.0 / 9);
  sum = __builtin_fma(sum, s2, 1.0 / 7);
  sum = __builtin_fma(sum, s2, 1.0 / 5);
  sum = __builtin_fma(sum, s2, 1.0 / 3);
  sum = __builtin_fma(sum, s2, 1.0);
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  const auto positive = static_cast<float>(__builtin_fma(e, kLn2, 2.0 * s * sum));

  const float finite = x < __builtin_inff() ? positive : x;  // +infinity and NaN stay
  const float otherwise = x < 0.0F ? __builtin_nanf("") : finite;
  return x == 0.0F ? -__builtin_inff() : otherwise;
}

/// portable_tanh.
MESHPARITY_INLINE float portable_tanh_inline(float x) {
  // tanh |x| = -q / (q + 2) with q = e^(-2|x|) - 1, which is computed without the cancellation:
  // power * (e^r - 1) + (power - 1), where the second part is 0 for small |x| and exact. The error
  // is that of the series, below 2^-35 of the whole. From |x| = 9.02 on the result rounds to 1.
  const double magnitude = __builtin_fabs(static_cast<double>(x));
  const double clamped = magnitude > 10.0 ? 10.0 : magnitude;
  const ExpParts parts = exp_parts(-2.0 * clamped);
  const double q = __builtin_fma(parts.power, exp_series(parts.r) * parts.r, parts.power - 1.0);
  return __builtin_copysignf(static_cast<float>(-q / (q + 2.0)), x);
}

/// portable_erf.
MESHPARITY_INLINE float portable_erf_inline(float x) {
  // From |x| = 3.92 on the result rounds to 1.
  const double wide = x;
  const double below = wide > 4.0 ? 4.0 : wide;
  const double clamped = below < -4.0 ? -4.0 : below;
  // erf(x) = x * P(u) with u = x^2 / 8 - 1 in [-1, 1]. P is the polynomial of degree 20 with the
  // smallest relative error on |x| <= 4, found with Remez' exchange algorithm in 60 digits, and
  // rounded to binary64: the error is below 2^-36.6. (In u, unlike in x, Horner's scheme is well
  // conditioned: the coefficients are small, their absolute values add up to 1.13.)
  const double u = __builtin_fma(clamped * clamped, 0.125, -1.0);
  double sum = 0x1.94b0a8b13434cp-17;
  sum = __builtin_fma(sum, u, -0x1.30de34f1fc415p-15);
  sum = __builtin_fma(sum, u, 0x1.35e067380be02p-15);
  sum = __builtin_fma(sum, u, -0x1.36962362c5ac0p-14);
  sum = __builtin_fma(sum, u, 0x1.2ce7d38189d08p-12);
  sum = __builtin_fma(sum, u, -0x1.5f1bae57d743bp-11);
  sum = __builtin_fma(sum, u, 0x1.51372f1376112p-10);
  sum = __builtin_fma(sum, u, -0x1.4c22e4a27bd69p-9);
  sum = __builtin_fma(sum, u, 0x1.3e2b789e9577ep-8);
  sum = __builtin_fma(sum, u, -0x1.1ab69ba728673p-7);
  sum = __builtin_fma(sum, u, 0x1.d637b7ee3448bp-7);
  sum = __builtin_fma(sum, u, -0x1.7019b64c575b0p-6);
  sum = __builtin_fma(sum, u, 0x1.0ed4a8bcf6882p-5);
  sum = __builtin_fma(sum, u, -0x1.76eadaa427b92p-5);
  sum = __builtin_fma(sum, u, 0x1.ea980ec6bdb4cp-5);
  sum = __builtin_fma(sum, u, -0x1.3215b9a2bd1c3p-4);
  sum = __builtin_fma(sum, u, 0x1.717efb125332fp-4);
  sum = __builtin_fma(sum, u, -0x1.b92e97277ee83p-4);
  sum = __builtin_fma(sum, u, 0x1.0dabaf0c1d61cp-3);
  sum = __builtin_fma(sum, u, -0x1.69a0ccd7e2882p-3);
  sum = __builtin_fma(sum, u, 0x1.6a040781a0855p-2);
  return static_cast<float>(clamped * sum);
}

/// What GELU and its derivative are made of: e^(-2u), u = sqrt(2/pi) (x + 0.044715 x^3), and x
/// clamped to [-20, 20], beyond which both functions are at their limits already.
struct GeluParts {
  double x;
  double power;
};

constexpr double kSqrt2OverPi = 0x1.9884533d43651p-1;
constexpr double kGeluCubic = 0.044715;

MESHPARITY_INLINE GeluParts gelu_parts(double x) {
  const double below = x > 20.0 ? 20.0 : x;
  const double clamped = below < -20.0 ? -20.0 : below;
  const double cubic = __builtin_fma(kGeluCubic, clamped * clamped, 1.0);
  const ExpParts parts = exp_parts(-2.0 * kSqrt2OverPi * clamped * cubic);
  return {clamped, __builtin_fma(exp_series(parts.r), parts.r, 1.0) * parts.power};
}

/// portable_gelu.
MESHPARITY_INLINE float portable_gelu_inline(float x) {
  const double wide = x;
  const GeluParts parts = gelu_parts(wide);
  const double from_below = wide < -20.0 ? -20.0 : wide;  // -infinity gives -0, like -20
  return static_cast<float>(from_below / (1.0 + parts.power));
}

/// portable_gelu_derivative.
MESHPARITY_INLINE float portable_gelu_derivative_inline(float x) {
  // With s = 1 / (1 + e) and e = e^(-2u): (x s)' = s (1 + 2 x u' e s).
  const GeluParts parts = gelu_parts(x);
  const double s = 1.0 / (1.0 + parts.power);
  const double slope = __builtin_fma(3.0 * kGeluCubic, parts.x * parts.x, 1.0);
  const double factor = 2.0 * kSqrt2OverPi * parts.x * slope;
  return static_cast<float>(s * __builtin_fma(factor, parts.power * s, 1.0));
}

}  // namespace meshparity

#undef MESHPARITY_INLINE
