// Operations of single elements, tables and rows.

#include "oracle/operations.h"

#include <cmath>
#include <numbers>
#include <stdexcept>

#include "oracle/in_parallel.h"
#include "oracle/near.h"

namespace meshparity {
namespace {

using near::at;
using near::kUnit;
using near::Near;
using near::put;
using near::room;
using near::stored;

template <typename Function>
BoundedMatrix each(const BoundedMatrix& x, const FreeArithmetic& arithmetic,
                   const Function& function) {
  BoundedMatrix y = room(x.rows, x.columns);
  in_parallel(x.value.size(), 100, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) put(y, i, stored(function(i), arithmetic));
  });
  return y;
}

void require_same_shape(const BoundedMatrix& x, const BoundedMatrix& y) {
  if (x.rows != y.rows || x.columns != y.columns) {
    throw std::invalid_argument("matrices have different shapes");
  }
}

constexpr Near kOne{1, 0};
constexpr Near kHalf{0.5, 0};

/// A constant that is no float.
Near constant(double value) { return {value, kUnit * std::abs(value)}; }

/// tanh's slope is largest where |z| is smallest.
Near tanh_of(Near z) {
  const double nearest = std::tanh(std::max(std::abs(z.value) - z.bound, 0.0));
  const double moved = std::min(z.bound * (1 - nearest * nearest), 2.0);
  return near::of_library(std::tanh(z.value), moved);
}

Near erf_of(Near z) {
  const double nearest = std::max(std::abs(z.value) - z.bound, 0.0);
  const double slope = 2 * std::numbers::inv_sqrtpi * std::exp(-nearest * nearest);
  return {std::erf(z.value), std::min(z.bound * slope, 2.0) + kErfError};
}

/// Of what is not positive.
Near exp_of(Near z) {
  const double value = std::exp(z.value);
  return near::of_library(value, value * std::expm1(z.bound));
}

const Near kCubic = constant(0.044715);

/// sqrt(2 / pi) (x + 0.044715 x^3)
Near tanh_argument(Near x) {
  return constant(std::numbers::sqrt2 * std::numbers::inv_sqrtpi) * (x + kCubic * (x * x * x));
}

Near gelu_of(Near x, GeluForm form) {
  const Near inner = form == GeluForm::tanh ? tanh_of(tanh_argument(x))
                                            : erf_of(x * constant(1 / std::numbers::sqrt2));
  return kHalf * x * (kOne + inner);
}

Near gelu_slope(Near x, GeluForm form) {
  if (form == GeluForm::tanh) {
    const Near t = tanh_of(tanh_argument(x));
    const Near inner = constant(std::numbers::sqrt2 * std::numbers::inv_sqrtpi) *
                       (kOne + constant(3 * 0.044715) * (x * x));
    return kHalf * (kOne + t) + kHalf * x * ((kOne - t * t) * inner);
  }
  const Near cdf = kHalf * (kOne + erf_of(x * constant(1 / std::numbers::sqrt2)));
  const Near density =
      constant(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp_of(-(kHalf * (x * x)));
  return cdf + x * density;
}

}  // namespace

BoundedMatrix exact_matrix(std::size_t rows, std::size_t columns, std::span<const float> values) {
  if (values.size() != rows * columns) throw std::invalid_argument("values do not fit the shape");
  return {rows, columns, {values.begin(), values.end()}, {}};
}

BoundedMatrix Operations::copy(const BoundedMatrix& x) const {
  if (arithmetic_.stored_unit == 0) return x;
  return each(x, arithmetic_, [&](std::size_t i) { return at(x, i); });
}

BoundedMatrix Operations::add(const BoundedMatrix& x, const BoundedMatrix& y) const {
  require_same_shape(x, y);
  return each(x, arithmetic_, [&](std::size_t i) { return at(x, i) + at(y, i); });
}

BoundedMatrix Operations::gather(const BoundedMatrix& table, std::span<const std::size_t> places,
                                 std::size_t rows) const {
  const std::size_t of_row = places.size() / rows;
  const std::size_t width = table.columns;
  BoundedMatrix y = room(rows, of_row * width);
  for (std::size_t k = 0; k < places.size(); ++k) {
    for (std::size_t c = 0; c < width; ++c) {
      put(y, k * width + c, stored(at(table, places[k] * width + c), arithmetic_));
    }
  }
  return y;
}

BoundedMatrix Operations::scatter(const BoundedMatrix& dy, std::span<const std::size_t> places,
                                  std::size_t table_rows, const RowWeights& weights) const {
  const std::size_t of_row = places.size() / dy.rows;
  const std::size_t width = dy.columns / of_row;
  BoundedMatrix y = room(table_rows, width);
  std::vector<double> sizes(y.value.size());
  std::vector<std::size_t> terms(table_rows);
  for (std::size_t k = 0; k < places.size(); ++k) {
    const double weight = weights.weights[k / of_row];
    ++terms[places[k]];
    for (std::size_t c = 0; c < width; ++c) {
      const Near term = at(dy, k * width + c);
      const std::size_t to = places[k] * width + c;
      y.value[to] += weight * term.value;
      y.bound[to] += std::abs(weight) * term.bound;
      sizes[to] += std::abs(weight * term.value);
    }
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t n = terms[i / width];
    if (n == 0) continue;
    const double all = sizes[i] + y.bound[i];
    y.bound[i] += near::gamma(near::depth(n, arithmetic_) + weights.parts + 2) * all +
                  static_cast<double>(n) * near::kUnderflow +
                  arithmetic_.stored_unit * (weights.parts > 1 ? all : std::abs(y.value[i]));
  }
  return y;
}

BoundedMatrix Operations::relu(const BoundedMatrix& x) const {
  return each(x, arithmetic_, [&](std::size_t i) {
    const double value = std::max(x.value[i], 0.0);
    // Certainly below 0: certainly 0.
    return Near{value, x.value[i] + x.bound_of(i) <= 0 ? 0 : x.bound_of(i)};
  });
}

BoundedMatrix Operations::relu_gradient(const BoundedMatrix& x, const BoundedMatrix& dy) const {
  require_same_shape(x, dy);
  return each(x, arithmetic_, [&](std::size_t i) {
    const Near d = at(dy, i);
    if (x.value[i] - x.bound_of(i) > 0) return d;
    const Near passed{x.value[i] > 0 ? d.value : 0, std::abs(d.value) + d.bound};
    return x.value[i] + x.bound_of(i) <= 0 ? Near{} : passed;
  });
}

BoundedMatrix Operations::gelu(const BoundedMatrix& x, GeluForm form) const {
  return each(x, arithmetic_, [&](std::size_t i) { return gelu_of(at(x, i), form); });
}

BoundedMatrix Operations::gelu_gradient(const BoundedMatrix& x, const BoundedMatrix& dy,
                                        GeluForm form) const {
  require_same_shape(x, dy);
  return each(x, arithmetic_,
              [&](std::size_t i) { return at(dy, i) * gelu_slope(at(x, i), form); });
}

}  // namespace meshparity
