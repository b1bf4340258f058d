// Layer norms, row by row. Frameworks compute them in several forms; each bound is that of the
// worst.

#include <cmath>

#include "oracle/in_parallel.h"
#include "oracle/near.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

using near::at;
using near::either;
using near::Near;
using near::put;
using near::room;
using near::stored;
using near::Total;

/// More roundings of numbers of this size than the form of `x` has: three of each.
Near rounded_further(Near x, double size) {
  return {x.value, x.bound + 3 * near::kUnit * (size + x.bound)};
}

class Row {
 public:
  Row(const BoundedMatrix& x, std::size_t row, double epsilon, const FreeArithmetic& arithmetic)
      : x_(x), first_(row * x.columns), width_(x.columns), arithmetic_(arithmetic) {
    const Near n{static_cast<double>(width_), 0};
    mean_ = total([&](std::size_t j) { return (*this)[j]; }) / n;
    const Near two_pass = total([&](std::size_t j) { return square((*this)[j] - mean_); }) / n;
    const Near one_pass =
        total([&](std::size_t j) { return square((*this)[j]); }) / n - square(mean_);
    const Near variance = either(two_pass, one_pass);
    inverse_ = Near{1, 0} / near::root(variance + Near{epsilon, near::kUnit * epsilon});
  }

  Near operator[](std::size_t j) const { return at(x_, first_ + j); }
  Near mean() const { return mean_; }
  Near inverse() const { return inverse_; }
  std::size_t width() const { return width_; }
  /// (x - mean) / deviation, or x / deviation - mean / deviation.
  Near normal(std::size_t j) const {
    return rounded_further(((*this)[j] - mean_) * inverse_, apart(j) * inverse_.value);
  }
  /// What is rounded instead of x - mean where both are multiplied apart: |x| + |mean|.
  double apart(std::size_t j) const { return std::abs((*this)[j].value) + std::abs(mean_.value); }
  template <typename Term>
  Near total(const Term& term) const {
    Total sum;
    for (std::size_t j = 0; j < width_; ++j) sum.add(term(j));
    return sum.result(arithmetic_);
  }

 private:
  static Near square(Near x) { return x * x; }

  const BoundedMatrix& x_;
  std::size_t first_;
  std::size_t width_;
  const FreeArithmetic& arithmetic_;
  Near mean_;
  Near inverse_;
};

/// dx = (dn - mean(dn) - n mean(dn n)) / deviation,  dn = dy gain.
Near input_gradient(const Row& row, Near dn, Near normal, Near mean_dn, Near mean_product) {
  return row.inverse() * (dn - mean_dn - normal * mean_product);
}

/// The same as dn / deviation + b x + c, where b and c = -(b mean + sum(dn) / deviation / width)
/// are one number a row: torch's on CPUs. What b and the mean are off by meets x - mean; the
/// roundings meet x and the mean apart.
Near by_coefficients(const Row& row, std::size_t j, Near dn, Near sum_dn, Near sum_dn_x) {
  const Near n{static_cast<double>(row.width()), 0};
  const Near r = row.inverse();
  const Near b = (sum_dn * row.mean() - sum_dn_x) * r * r * r / n;
  const Near of_sum = sum_dn * r / n;
  const Near result = r * dn + b * (row[j] - row.mean()) - of_sum;
  const double size =
      std::abs(b.value) * row.apart(j) + std::abs(of_sum.value) + std::abs(r.value * dn.value);
  return rounded_further(result, size);
}

}  // namespace

BoundedMatrix Operations::layer_norm(const BoundedMatrix& x, const BoundedMatrix& gain,
                                     const BoundedMatrix* bias, double epsilon) const {
  BoundedMatrix y = room(x.rows, x.columns);
  in_parallel(x.rows, 200 * x.columns, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const Row row(x, i, epsilon, arithmetic_);
      for (std::size_t j = 0; j < x.columns; ++j) {
        const Near g = at(gain, j);
        const Near b = bias == nullptr ? Near{} : at(*bias, j);
        // Or x scale + (bias - mean scale), scale = gain / deviation.
        const double size =
            row.apart(j) * std::abs(row.inverse().value * g.value) + std::abs(b.value);
        const Near element = rounded_further(row.normal(j) * g + b, size);
        put(y, i * x.columns + j, stored(element, arithmetic_));
      }
    }
  });
  return y;
}

BoundedMatrix Operations::layer_norm_input_gradient(const BoundedMatrix& x,
                                                    const BoundedMatrix& gain,
                                                    const BoundedMatrix& dy, double epsilon) const {
  BoundedMatrix dx = room(x.rows, x.columns);
  in_parallel(x.rows, 200 * x.columns, [&](std::size_t begin, std::size_t end) {
    std::vector<Near> dn(x.columns);
    std::vector<Near> normal(x.columns);
    for (std::size_t i = begin; i < end; ++i) {
      const Row row(x, i, epsilon, arithmetic_);
      const std::size_t first = i * x.columns;
      for (std::size_t j = 0; j < x.columns; ++j) {
        dn[j] = at(dy, first + j) * at(gain, j);
        normal[j] = row.normal(j);
      }
      const Near n{static_cast<double>(x.columns), 0};
      const Near sum_dn = row.total([&](std::size_t j) { return dn[j]; });
      const Near mean_product = row.total([&](std::size_t j) { return dn[j] * normal[j]; }) / n;
      const Near sum_dn_x = row.total([&](std::size_t j) { return dn[j] * row[j]; });
      for (std::size_t j = 0; j < x.columns; ++j) {
        const Near element = either(input_gradient(row, dn[j], normal[j], sum_dn / n, mean_product),
                                    by_coefficients(row, j, dn[j], sum_dn, sum_dn_x));
        put(dx, first + j, stored(element, arithmetic_));
      }
    }
  });
  return dx;
}

BoundedMatrix Operations::layer_norm_gain_gradient(const BoundedMatrix& x, const BoundedMatrix& dy,
                                                   double epsilon,
                                                   const RowWeights& weights) const {
  BoundedMatrix products = room(x.rows, x.columns);
  for (std::size_t i = 0; i < x.rows; ++i) {
    const Row row(x, i, epsilon, arithmetic_);
    for (std::size_t j = 0; j < x.columns; ++j) {
      put(products, i * x.columns + j, at(dy, i * x.columns + j) * row.normal(j));
    }
  }
  return bias_gradient(products, weights);
}

}  // namespace meshparity
