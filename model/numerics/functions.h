#pragma once

/// The model's own mathematical functions: fixed sequences of IEEE operations, which give the same
/// bits on every machine (C libraries differ between releases and CPUs). Loops call the inline
/// versions in inline_functions.h, which do the same operations.
namespace meshparity {

/// Largest errors in units in the last place, found by trying every float against the C library's
/// binary64 function. (`functions_every_float` in property_tests; it also shows that the first four
/// are monotone.)
inline constexpr double exp_max_ulp = 0.5002;
inline constexpr double log_max_ulp = 0.5001;
inline constexpr double tanh_max_ulp = 0.5003;
inline constexpr double erf_max_ulp = 0.5002;
inline constexpr double gelu_max_ulp = 0.5004;
inline constexpr double gelu_derivative_max_ulp = 0.5225;  ///< next to its zero at -0.7525
/// Relative, found by trying the middles of all 2^24 intervals of unit_midpoint.
inline constexpr double normal_quantile_max_error = 1e-15;

/// e^x. Overflows to +infinity, underflows through the subnormals to +0.
float portable_exp(float x);

/// Natural logarithm. -infinity at 0, NaN below.
float portable_log(float x);

/// Hyperbolic tangent. Odd to the last bit; +-1 from |x| = 9.02 on.
float portable_tanh(float x);

/// The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. Odd to the last
/// bit; +-1 from |x| = 3.92 on.
float portable_erf(float x);

/// GELU in its tanh form (Hendrycks and Gimpel, arXiv:1606.08415), and its derivative: from
/// x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3), in binary64, rounded once. Where they have
/// no other value left they are x or 1, and to the left -0, at -infinity too.
float portable_gelu(float x);
float portable_gelu_derivative(float x);

/// cos(pi q) for q in [0, 1], in binary64: for schedules. The error is below 2^-52; exact at 0, 1/2
/// and 1.
double portable_cos_pi(double q);

/// The value that a standard normal variable is below with probability u in (0, 1), in binary64.
/// Odd around 1/2 to the last bit, where 1 - u is exact.
double normal_quantile(double u);

}  // namespace meshparity
