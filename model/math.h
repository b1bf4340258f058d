#pragma once

/// The model's own exponential and logarithm: fixed sequences of IEEE operations, so the same bits
/// on every machine (C libraries differ between releases and CPUs).
namespace meshparity {

/// Largest errors in units in the last place, found by trying every float against the C library's
/// binary64 function (`math_every_float` in property_tests).
inline constexpr double exp_max_ulp = 0.5002;
inline constexpr double log_max_ulp = 0.5001;

/// e^x. Overflows to +infinity, underflows through the subnormals to +0.
float portable_exp(float x);

/// Natural logarithm. -infinity at 0, NaN below.
float portable_log(float x);

}  // namespace meshparity
