#pragma once

#include <algorithm>
#include <cmath>
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
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::abs(static_cast<double>(result) - exact) / std::ldexp(1.0, exponent - 23);
}

}  // namespace meshparity
