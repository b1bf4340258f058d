#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "oracle/operations.h"

/// Numbers known within a bound, as float32 operations make them. (Inside oracle/ only.)
///
/// An operation gives fl(x) = x (1 + d), |d| <= u, or loses at most the smallest normal number
/// where a machine flushes what is below it (Higham, Accuracy and Stability of Numerical
/// Algorithms, 2nd ed., section 2.2).
namespace meshparity::near {

/// Unit roundoff of binary32, and this oracle's own rounding of the same operation.
inline constexpr double kUnit = 0x1p-24 * (1 + 0x1p-20);
inline constexpr double kUnderflow = 0x1p-126;
/// An ulp is at most 2^-23 of the value.
inline constexpr double kFunction = kLibraryUlp * 0x1p-23;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Near {
  double value = 0;
  double bound = 0;
};

/// One rounding of what is `value` within `bound`.
inline Near rounded(double value, double bound) {
  return {value, bound + kUnit * (std::abs(value) + bound) + kUnderflow};
}
/// What a library function gives, likewise.
inline Near of_library(double value, double bound) {
  return {value, bound + kFunction * (std::abs(value) + bound) + kUnderflow};
}
inline Near at(const BoundedMatrix& x, std::size_t i) { return {x.value[i], x.bound_of(i)}; }

inline Near operator+(Near a, Near b) { return rounded(a.value + b.value, a.bound + b.bound); }
inline Near operator-(Near a, Near b) { return rounded(a.value - b.value, a.bound + b.bound); }
inline Near operator-(Near a) { return {-a.value, a.bound}; }
inline Near operator*(Near a, Near b) {
  return rounded(a.value * b.value,
                 std::abs(a.value) * b.bound + a.bound * (std::abs(b.value) + b.bound));
}
inline Near operator/(Near a, Near b) {
  const double value = a.value / b.value;
  const double least = std::abs(b.value) - b.bound;  // of the divisor
  return rounded(value, least > 0 ? (a.bound + std::abs(value) * b.bound) / least : kInfinity);
}
/// Of a number that is not negative.
inline Near root(Near a) {
  const double value = std::sqrt(a.value);
  const double below = value - std::sqrt(std::max(a.value - a.bound, 0.0));
  return of_library(value, std::max(below, std::sqrt(a.value + a.bound) - value));
}
/// The same number computed in two forms.
inline Near either(Near a, Near b) { return {a.value, std::max(a.bound, b.bound)}; }

/// gamma_d = d u / (1 - d u): no product of d factors (1 + delta) is further from 1. Infinite where
/// no bound holds.
inline double gamma(std::size_t depth) {
  const double x = static_cast<double>(depth) * kUnit;
  return x < 0.5 ? x / (1 - x) : kInfinity;
}

/// Most roundings that a term of a sum goes through, its own as a product among them.
inline std::size_t depth(std::size_t terms, const FreeArithmetic& arithmetic) {
  if (!arithmetic.longest_chain || *arithmetic.longest_chain >= terms) return terms;
  std::size_t levels = 0;
  while ((*arithmetic.longest_chain << levels) < terms) ++levels;
  return std::min(terms, *arithmetic.longest_chain + levels + 2);
}

/// A sum in any order.
class Total {
 public:
  void add(Near term) {
    value_ += term.value;
    size_ += std::abs(term.value);
    doubt_ += term.bound;
    ++terms_;
  }
  Near result(const FreeArithmetic& arithmetic) const {
    const double own = gamma(depth(terms_, arithmetic)) * (size_ + doubt_);
    return {value_, doubt_ + own + static_cast<double>(terms_) * kUnderflow};
  }

 private:
  double value_ = 0;
  double size_ = 0;
  double doubt_ = 0;
  std::size_t terms_ = 0;
};

/// A result with room for its bounds.
inline BoundedMatrix room(std::size_t rows, std::size_t columns) {
  return {rows, columns, std::vector<double>(rows * columns), std::vector<double>(rows * columns)};
}
inline void put(BoundedMatrix& x, std::size_t i, Near element) {
  x.value[i] = element.value;
  x.bound[i] = element.bound;
}
/// An operation's result, as it is stored.
inline Near stored(Near x, const FreeArithmetic& arithmetic) {
  return {x.value, x.bound + arithmetic.stored_unit * (std::abs(x.value) + x.bound)};
}

}  // namespace meshparity::near
