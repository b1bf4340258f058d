#pragma once

#include <bit>
#include <cstdint>

namespace meshparity {

/// The nearest bfloat16 of a finite float, ties to even.
inline double rounded_to_bfloat16(double x) {
  auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  bits = (bits + 0x7fffU + (bits >> 16U & 1U)) & 0xffff0000U;
  return static_cast<double>(std::bit_cast<float>(bits));
}

/// A float without the bits that a bfloat16 has not.
inline double cut_to_bfloat16(double x) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  return static_cast<double>(std::bit_cast<float>(bits & 0xffff0000U));
}

}  // namespace meshparity
