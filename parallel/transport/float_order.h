#pragma once

#include <bit>
#include <cstdint>

namespace meshparity {

/// The place of a float in the order -infinity < ... < -0 < +0 < ... < infinity < NaN. All NaN are
/// one.
inline std::int32_t place_in_order(float value) {
  if (value != value) return std::int32_t{0x7fc00000};
  const auto bits = std::bit_cast<std::int32_t>(value);
  // Sign and magnitude: of two negative numbers the one with the smaller bits is the larger one.
  return bits < 0 ? bits ^ std::int32_t{0x7fffffff} : bits;
}

/// The float at a place that place_in_order has given.
inline float float_at_place(std::int32_t place) {
  return std::bit_cast<float>(place < 0 ? place ^ std::int32_t{0x7fffffff} : place);
}

}  // namespace meshparity
