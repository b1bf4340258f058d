#include "model/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace meshparity {

// Both work in binary64, where the method's error is far below half a unit of binary32, and round
// once.

float portable_exp(float x) {
  if (std::isnan(x)) return x;
  // Beyond these the result is +infinity or +0 already; the clamp keeps the exponent in range.
  const double clamped = x > 100.0F ? 100.0 : (x < -110.0F ? -110.0 : static_cast<double>(x));

  // e^x = 2^n * e^r, |r| <= ln(2) / 2. ln(2) in two parts, so that n * upper part is exact.
  constexpr double kLog2E = 0x1.71547652b82fep0;
  constexpr double kLn2Upper = 0x1.62e42fefa38p-1;
  constexpr double kLn2Lower = 0x1.ef35793c7673p-45;
  constexpr double kRoundToInteger = 0x1.8p52;
  const double n = (clamped * kLog2E + kRoundToInteger) - kRoundToInteger;
  const double r = std::fma(-n, kLn2Lower, std::fma(-n, kLn2Upper, clamped));

  // Taylor to r^9; the rest is below 0.35^10 / 10! < 2^-36.
  double sum = 1.0 / 362880;
  sum = std::fma(sum, r, 1.0 / 40320);
  sum = std::fma(sum, r, 1.0 / 5040);
  sum = std::fma(sum, r, 1.0 / 720);
  sum = std::fma(sum, r, 1.0 / 120);
  sum = std::fma(sum, r, 1.0 / 24);
  sum = std::fma(sum, r, 1.0 / 6);
  sum = std::fma(sum, r, 0.5);
  sum = std::fma(sum, r, 1.0);
  sum = std::fma(sum, r, 1.0);

  const auto power = static_cast<std::uint64_t>(static_cast<std::int64_t>(n) + 1023) << 52;
  return static_cast<float>(sum * std::bit_cast<double>(power));
}

float portable_log(float x) {
  if (std::isnan(x) || x == std::numeric_limits<float>::infinity()) return x;
  if (x < 0.0F) return std::numeric_limits<float>::quiet_NaN();
  if (x == 0.0F) return -std::numeric_limits<float>::infinity();

  // x = m * 2^e with m in [sqrt(1/2), sqrt(2)): the offset moves the cut from 1 to sqrt(1/2).
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDULL;
  constexpr std::uint64_t kFraction = 0x000FFFFFFFFFFFFFULL;
  const auto shifted = std::bit_cast<std::uint64_t>(static_cast<double>(x)) - kSqrtHalf;
  const std::int64_t e = static_cast<std::int64_t>(shifted) >> 52;
  const double m = std::bit_cast<double>((shifted & kFraction) + kSqrtHalf);

  // ln(m) = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1) / (m + 1), |s| < 0.172;
  // the rest after s^15 is below 2^-44 of the whole.
  const double s = (m - 1.0) / (m + 1.0);
  const double s2 = s * s;
  double sum = 1.0 / 15;
  sum = std::fma(sum, s2, 1.0 / 13);
  sum = std::fma(sum, s2, 1.0 / 11);
  sum = std::fma(sum, s2, 1.0 / 9);
  sum = std::fma(sum, s2, 1.0 / 7);
  sum = std::fma(sum, s2, 1.0 / 5);
  sum = std::fma(sum, s2, 1.0 / 3);
  sum = std::fma(sum, s2, 1.0);
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  return static_cast<float>(std::fma(static_cast<double>(e), kLn2, 2.0 * s * sum));
}

}  // namespace meshparity
