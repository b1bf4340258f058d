#pragma once

#include <cstdint>

#include "model/numerics/strict_arithmetic.h"

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
///
/// Where compilers make poor vector code of a loop, the function is a template over what it
/// computes with: one number here, a vector of them in simd_functions.h.
#define MESHPARITY_INLINE [[gnu::always_inline]] static inline

namespace meshparity {

/// One binary64 number.
struct ScalarArithmetic {
  using Wide = double;
  using Bits = std::uint64_t;
  [[gnu::always_inline]] static double fma(double a, double b, double c) {
    return __builtin_fma(a, b, c);
  }
  [[gnu::always_inline]] static double all(double value) { return value; }
};

/// (e^r - 1) / r for |r| <= ln(2) / 2: Taylor's series. What is left out is below
/// 0.35^10 / 10! < 2^-36 of e^r.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide exp_series(typename Arithmetic::Wide r) {
  typename Arithmetic::Wide sum = Arithmetic::all(1.0 / 362880);
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 40320));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 5040));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 720));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 120));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 24));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(1.0 / 6));
  sum = Arithmetic::fma(sum, r, Arithmetic::all(0.5));
  return Arithmetic::fma(sum, r, Arithmetic::all(1.0));
}

/// e^x = power * e^r with |r| <= ln(2) / 2 and a power of two.
template <typename Arithmetic>
struct ExpParts {
  typename Arithmetic::Wide power;
  typename Arithmetic::Wide r;
};

/// For |x| < 700, so that the power is a normal number.
template <typename Arithmetic>
MESHPARITY_INLINE ExpParts<Arithmetic> exp_parts(typename Arithmetic::Wide x) {
  // ln(2) in two parts, so that n * upper part is exact.
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2Upper = 0x1.62e42fefa38p-1;
  constexpr double kLn2Lower = 0x1.ef35793c7673p-45;
  // Added to n, it leaves n in the last bits; there the exponent 2^n is made from it, because few
  // instruction sets convert vectors of 64-bit integers.
  constexpr double kRoundToInteger = 0x1.8p52;
  const typename Arithmetic::Wide shifted = x * kLog2E + kRoundToInteger;
  const typename Arithmetic::Wide n = shifted - kRoundToInteger;
  const typename Arithmetic::Wide r = Arithmetic::fma(
      n, Arithmetic::all(-kLn2Lower), Arithmetic::fma(n, Arithmetic::all(-kLn2Upper), x));
  const typename Arithmetic::Bits power =
      (__builtin_bit_cast(typename Arithmetic::Bits, shifted) + 1023U) << 52U;
  return {__builtin_bit_cast(typename Arithmetic::Wide, power), r};
}

/// e^x for |x| < 700, to about 2^-36.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide exp_wide(typename Arithmetic::Wide x) {
  const ExpParts<Arithmetic> parts = exp_parts<Arithmetic>(x);
  const typename Arithmetic::Wide series = exp_series<Arithmetic>(parts.r);
  return Arithmetic::fma(series, parts.r, Arithmetic::all(1.0)) * parts.power;
}

/// x, but no less than `least` and no more than `most`.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide clamp_wide(typename Arithmetic::Wide x, double least,
                                                       double most) {
  const typename Arithmetic::Wide below = x > most ? Arithmetic::all(most) : x;
  return below < least ? Arithmetic::all(least) : below;
}

/// portable_exp, before its result is rounded.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide portable_exp_wide(typename Arithmetic::Wide x) {
  // Beyond these the result is +infinity or +0 already; the clamp keeps the exponent in range.
  return exp_wide<Arithmetic>(clamp_wide<Arithmetic>(x, -110.0, 100.0));
}

MESHPARITY_INLINE float portable_exp_inline(float x) {
  return static_cast<float>(portable_exp_wide<ScalarArithmetic>(x));
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
  const auto parts = exp_parts<ScalarArithmetic>(-2.0 * clamped);
  const double q = __builtin_fma(parts.power, exp_series<ScalarArithmetic>(parts.r) * parts.r,
                                 parts.power - 1.0);
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

constexpr double kSqrt2OverPi = 0x1.9884533d43651p-1;
constexpr double kGeluCubic = 0.044715;

/// e^(-2u), u = sqrt(2/pi) (x + 0.044715 x^3), for |x| <= 20.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide gelu_power(typename Arithmetic::Wide x) {
  const typename Arithmetic::Wide cubic =
      Arithmetic::fma(Arithmetic::all(kGeluCubic), x * x, Arithmetic::all(1.0));
  return exp_wide<Arithmetic>((-2.0 * kSqrt2OverPi) * x * cubic);
}

/// portable_gelu, before its result is rounded.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide portable_gelu_wide(typename Arithmetic::Wide x) {
  // From |x| = 20 on the result rounds to x or -0; -infinity gives -0, the limit.
  const typename Arithmetic::Wide from_below = x < -20.0 ? Arithmetic::all(-20.0) : x;
  // As the derivative has it, so that whoever needs both gets one power.
  const typename Arithmetic::Wide clamped = clamp_wide<Arithmetic>(x, -20.0, 20.0);
  return from_below / (1.0 + gelu_power<Arithmetic>(clamped));
}

/// portable_gelu_derivative, before its result is rounded.
template <typename Arithmetic>
MESHPARITY_INLINE typename Arithmetic::Wide portable_gelu_derivative_wide(
    typename Arithmetic::Wide x) {
  // With s = 1 / (1 + e) and e = e^(-2u): (x s)' = s (1 + 2 x u' e s). From |x| = 20 on the result
  // rounds to 1 or -0.
  const typename Arithmetic::Wide clamped = clamp_wide<Arithmetic>(x, -20.0, 20.0);
  const typename Arithmetic::Wide power = gelu_power<Arithmetic>(clamped);
  const typename Arithmetic::Wide s = 1.0 / (1.0 + power);
  const typename Arithmetic::Wide slope =
      Arithmetic::fma(Arithmetic::all(3.0 * kGeluCubic), clamped * clamped, Arithmetic::all(1.0));
  const typename Arithmetic::Wide factor = (2.0 * kSqrt2OverPi) * clamped * slope;
  return s * Arithmetic::fma(factor, power * s, Arithmetic::all(1.0));
}

MESHPARITY_INLINE float portable_gelu_inline(float x) {
  return static_cast<float>(portable_gelu_wide<ScalarArithmetic>(x));
}
MESHPARITY_INLINE float portable_gelu_derivative_inline(float x) {
  return static_cast<float>(portable_gelu_derivative_wide<ScalarArithmetic>(x));
}

}  // namespace meshparity

#undef MESHPARITY_INLINE
