#include "model/numerics/functions.h"

#include <cmath>

#include "model/numerics/inline_functions.h"

namespace meshparity {
namespace {

/// Horner's scheme, the coefficient of the highest power first.
template <std::size_t Count>
double polynomial(double x, const double (&coefficients)[Count]) {
  double sum = coefficients[0];
  for (std::size_t i = 1; i < Count; ++i) sum = sum * x + coefficients[i];
  return sum;
}

/// sin(x) and cos(x) for |x| <= pi / 4: Taylor's series, what is left out is below 2^-60.
double sine(double x) {
  constexpr double kSeries[] = {
      1.0 / 355687428096000, -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800,
      1.0 / 362880,          -1.0 / 5040,          1.0 / 120,        -1.0 / 6};
  const double square = x * x;
  return x + x * (square * polynomial(square, kSeries));
}
double cosine(double x) {
  constexpr double kSeries[] = {
      1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800,
      1.0 / 40320,          -1.0 / 720,         1.0 / 24,        -1.0 / 2};
  const double square = x * x;
  return 1.0 + square * polynomial(square, kSeries);
}

/// ln(x) for a normal x > 0, like portable_log_inline with more terms: what is left out is below
/// 2^-58 of the whole.
double logarithm(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact; in [1/2, 1)
  if (m < 0x1.6a09e667f3bcdp-1) {       // sqrt(1/2)
    m = m + m;
    --exponent;
  }
  constexpr double kSeries[] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
  const double s = (m - 1.0) / (m + 1.0);
  constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  return static_cast<double>(exponent) * kLn2 + 2.0 * s * polynomial(s * s, kSeries);
}

}  // namespace

float portable_exp(float x) { return portable_exp_inline(x); }
float portable_log(float x) { return portable_log_inline(x); }
float portable_tanh(float x) { return portable_tanh_inline(x); }
float portable_erf(float x) { return portable_erf_inline(x); }
float portable_gelu(float x) { return portable_gelu_inline(x); }
float portable_gelu_derivative(float x) { return portable_gelu_derivative_inline(x); }

double portable_cos_pi(double q) {
  // 1 - q and 1/2 - q are exact where they are used, and so are the answers 1, 0 and -1.
  constexpr double kPi = 0x1.921fb54442d18p1;
  if (q < 0.25) return cosine(kPi * q);
  if (q <= 0.75) return sine(kPi * (0.5 - q));
  return -cosine(kPi * (1.0 - q));
}

double normal_quantile(double u) {
  // Wichura: Algorithm AS 241, the percentage points of the normal distribution (PPND16); Applied
  // Statistics 37 (1988). Rational functions of degree 7 around the middle, in the tails, and far
  // out in them.
  constexpr double kMiddleOver[] = {2.5090809287301226727e+3, 3.3430575583588128105e+4,
                                    6.7265770927008700853e+4, 4.5921953931549871457e+4,
                                    1.3731693765509461125e+4, 1.9715909503065514427e+3,
                                    1.3314166789178437745e+2, 3.3871328727963666080e+0};
  constexpr double kMiddleUnder[] = {5.2264952788528545610e+3, 2.8729085735721942674e+4,
                                     3.9307895800092710610e+4, 2.1213794301586595867e+4,
                                     5.3941960214247511077e+3, 6.8718700749205790830e+2,
                                     4.2313330701600911252e+1, 1.0};
  constexpr double kTailOver[] = {7.74545014278341407640e-4, 2.27238449892691845833e-2,
                                  2.41780725177450611770e-1, 1.27045825245236838258e+0,
                                  3.64784832476320460504e+0, 5.76949722146069140550e+0,
                                  4.63033784615654529590e+0, 1.42343711074968357734e+0};
  constexpr double kTailUnder[] = {1.05075007164441684324e-9, 5.47593808499534494600e-4,
                                   1.51986665636164571966e-2, 1.48103976427480074590e-1,
                                   6.89767334985100004550e-1, 1.67638483018380384940e+0,
                                   2.05319162663775882187e+0, 1.0};
  constexpr double kFarOver[] = {2.01033439929228813265e-7, 2.71155556874348757815e-5,
                                 1.24266094738807843860e-3, 2.65321895265761230930e-2,
                                 2.96560571828504891230e-1, 1.78482653991729133580e+0,
                                 5.46378491116411436990e+0, 6.65790464350110377720e+0};
  constexpr double kFarUnder[] = {2.04426310338993978564e-15, 1.42151175831644588870e-7,
                                  1.84631831751005468180e-5,  7.86869131145613259100e-4,
                                  1.48753612908506148525e-2,  1.36929880922735805310e-1,
                                  5.99832206555887937690e-1,  1.0};
  const double q = u - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(r, kMiddleOver) / polynomial(r, kMiddleUnder);
  }
  const double tail = std::sqrt(-logarithm(q < 0.0 ? u : 1.0 - u));
  const double z = tail <= 5.0
                       ? polynomial(tail - 1.6, kTailOver) / polynomial(tail - 1.6, kTailUnder)
                       : polynomial(tail - 5.0, kFarOver) / polynomial(tail - 5.0, kFarUnder);
  return q < 0.0 ? -z : z;
}

}  // namespace meshparity
