#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace meshparity {

/// |result - exact| in units in the last place of a float at `exact`; below the normal numbers the
/// unit is the smallest subnormal. Where one of them is no finite number: 0 if `result` is what
/// rounding `exact` gives, otherwise infinity.
inline double ulp_error(float result, double exact) {
  const auto rounded = static_cast<float>(exact);
  if (!std::isfinite(result) || !std::isfinite(rounded)) {
    const bool same = std::isnan(result) ? std::isnan(rounded) : result == rounded;
    return same ? 0.0 : std::numeric_limits<double>::infinity();
  }
  if (exact == 0.0) return result == 0.0F ? 0.0 : std::numeric_limits<double>::infinity();
  // The exponent's bits alone are the power of two below |exact|.
  const auto power = std::bit_cast<double>(std::bit_cast<std::uint64_t>(exact) & 0x7FFULL << 52);
  return std::abs(static_cast<double>(result) - exact) / (std::max(power, 0x1p-126) * 0x1p-23);
}

}  // namespace meshparity
