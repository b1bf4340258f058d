// Operations that are matrix products: values in float64; the sizes that bounds need, which are
// sums of positive terms, in float32, rounded up.

#include <Eigen/Core>
#include <cmath>
#include <stdexcept>

#include "oracle/in_parallel.h"
#include "oracle/near.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

using Eigen::Index;
template <typename Number>
using Rows = Eigen::Matrix<Number, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Rows<double>> map(const BoundedMatrix& x, const std::vector<double>& values) {
  return {values.data(), static_cast<Index>(x.rows), static_cast<Index>(x.columns)};
}

enum class As { is, transposed };

/// The rows [first, first + count) of `as(a)`, times as(b).
template <typename Number, typename A, typename B, typename Result>
void multiply_rows(const A& a, As of_a, const B& b, As of_b, Index first, Index count,
                   Result&& result) {
  if (of_a == As::is) {
    const auto part = a.middleRows(first, count);
    if (of_b == As::is) {
      result.noalias() = part * b;
    } else {
      result.noalias() = part * b.transpose();
    }
    return;
  }
  const auto part = a.middleCols(first, count).transpose();
  if (of_b == As::is) {
    result.noalias() = part * b;
  } else {
    result.noalias() = part * b.transpose();
  }
}

template <typename Number, typename A, typename B>
Rows<Number> multiply(const A& a, As of_a, const B& b, As of_b) {
  Rows<Number> result(of_a == As::is ? a.rows() : a.cols(), of_b == As::is ? b.cols() : b.rows());
  const Index terms = of_a == As::is ? a.cols() : a.rows();
  const auto cost = static_cast<std::size_t>(terms * result.cols());
  in_parallel(
      static_cast<std::size_t>(result.rows()), cost, [&](std::size_t begin, std::size_t end) {
        const auto first = static_cast<Index>(begin);
        const auto count = static_cast<Index>(end - begin);
        multiply_rows<Number>(a, of_a, b, of_b, first, count, result.middleRows(first, count));
      });
  return result;
}

struct Factor {
  const BoundedMatrix& matrix;
  As as = As::is;

  Index terms() const { return static_cast<Index>(as == As::is ? matrix.columns : matrix.rows); }
};

Rows<float> sizes_of(const BoundedMatrix& x) { return map(x, x.value).cwiseAbs().cast<float>(); }

/// The nearest number of 8 bits, ties to even, as every framework rounds to bfloat16.
double nearest_bfloat16(double value) {
  int exponent = 0;
  const double significand = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(significand * 0x1p8), exponent - 8);
}

/// What is multiplied, if `x` is stored. The factors of bfloat16 products are bfloat16 themselves,
/// and come to lie in `rounded`; where x is known within a bound alone, so is its rounding.
const BoundedMatrix& factor_of(const BoundedMatrix& x, const FreeArithmetic& arithmetic,
                               BoundedMatrix& rounded) {
  if (!arithmetic.factors_are_bfloat16 || !x.bound.empty()) return x;
  rounded = x;
  for (double& value : rounded.value) value = nearest_bfloat16(value);
  return rounded;
}

/// What else a sum of products may have gone through.
struct Extra {
  std::size_t roundings = 0;
  std::size_t parts = 1;  // stored sums that are added up
};

/// Any correct computation of a b is off by at most
///
///     |a| eb + ea (|b| + eb) + (gamma_depth + what rounding the factors does) (|a| |b| + those)
BoundedMatrix product(const Factor& a, const Factor& b, const FreeArithmetic& arithmetic,
                      Extra extra) {
  // The sum runs over the columns of as(a), which are the rows of as(b).
  const std::size_t inner = b.as == As::is ? b.matrix.rows : b.matrix.columns;
  if (static_cast<std::size_t>(a.terms()) != inner) {
    throw std::invalid_argument("matrices cannot be multiplied");
  }
  const auto n = static_cast<double>(inner);
  Rows<float> size_of_a = sizes_of(a.matrix);
  const Rows<float> size_of_b = sizes_of(b.matrix);
  const Rows<float> sizes = multiply<float>(size_of_a, a.as, size_of_b, b.as);
  Rows<float> inherited = Rows<float>::Zero(sizes.rows(), sizes.cols());
  const bool a_is_doubtful = !a.matrix.bound.empty();
  const bool b_is_doubtful = !b.matrix.bound.empty();
  if (b_is_doubtful) {
    const Rows<float> doubt = map(b.matrix, b.matrix.bound).cast<float>();
    if (a_is_doubtful) size_of_a += map(a.matrix, a.matrix.bound).cast<float>();
    inherited += multiply<float>(size_of_a, a.as, doubt, b.as);
  }
  if (a_is_doubtful) {
    const Rows<float> doubt = map(a.matrix, a.matrix.bound).cast<float>();
    inherited += multiply<float>(doubt, a.as, size_of_b, b.as);
  }
  const double up = 1 + (n + 8) * 0x1p-23;  // of the float32 sums themselves
  const auto unit_of = [&](const Factor& factor) {
    const bool is_rounded = arithmetic.factors_are_bfloat16 && factor.matrix.bound.empty();
    return is_rounded ? 0 : arithmetic.factor_unit;
  };
  const double factors = (1 + unit_of(a)) * (1 + unit_of(b)) - 1;
  const double own =
      near::gamma(near::depth(inner, arithmetic) + extra.roundings) * (1 + factors) + factors;

  BoundedMatrix result;
  result.rows = static_cast<std::size_t>(sizes.rows());
  result.columns = static_cast<std::size_t>(sizes.cols());
  result.value.resize(result.rows * result.columns);
  result.bound.resize(result.value.size());
  Eigen::Map<Rows<double>> values(result.value.data(), sizes.rows(), sizes.cols());
  values =
      multiply<double>(map(a.matrix, a.matrix.value), a.as, map(b.matrix, b.matrix.value), b.as);
  for (std::size_t i = 0; i < result.value.size(); ++i) {
    const double inherits = up * static_cast<double>(inherited.data()[i]);
    const double size = up * static_cast<double>(sizes.data()[i]) + inherits;
    const double bound = inherits + own * size + n * near::kUnderflow;
    result.bound[i] = bound + arithmetic.stored_unit *
                                  (extra.parts > 1 ? size : std::abs(result.value[i]) + bound);
  }
  return result;
}

BoundedMatrix weighted(BoundedMatrix dy, const RowWeights& weights) {
  for (std::size_t i = 0; i < dy.value.size(); ++i) {
    const double weight = weights.weights[i / dy.columns];
    dy.value[i] *= weight;
    if (!dy.bound.empty()) dy.bound[i] *= std::abs(weight);
  }
  return dy;
}

/// Roundings of a sum over rows, part by part.
Extra over_rows(const RowWeights& weights) {
  return {.roundings = weights.parts + 2, .parts = weights.parts};
}

}  // namespace

BoundedMatrix Operations::linear(const BoundedMatrix& x, const BoundedMatrix& w, bool output_input,
                                 const BoundedMatrix* bias) const {
  FreeArithmetic unstored = arithmetic_;
  if (bias != nullptr) unstored.stored_unit = 0;
  BoundedMatrix rounded_x;
  BoundedMatrix rounded_w;
  BoundedMatrix y = product(
      {factor_of(x, arithmetic_, rounded_x)},
      {factor_of(w, arithmetic_, rounded_w), output_input ? As::transposed : As::is}, unstored, {});
  if (bias == nullptr) return y;
  if (bias->value.size() != y.columns) throw std::invalid_argument("a bias does not fit");
  // The bias may come first: then it goes through the whole sum.
  const double whole = near::gamma(near::depth(x.columns + 1, arithmetic_) + 1);
  for (std::size_t i = 0; i < y.value.size(); ++i) {
    const near::Near b = near::at(*bias, i % y.columns);
    const near::Near sum = near::at(y, i) + b;
    const double bias_first = sum.bound + whole * std::abs(b.value);
    near::put(y, i, near::stored({sum.value, bias_first}, arithmetic_));
  }
  return y;
}

BoundedMatrix Operations::linear_input_gradient(const BoundedMatrix& dy, const BoundedMatrix& w,
                                                bool output_input) const {
  // Tensor-parallel ranks each add up a part and store it.
  BoundedMatrix rounded_dy;
  BoundedMatrix rounded_w;
  return product({factor_of(dy, arithmetic_, rounded_dy)},
                 {factor_of(w, arithmetic_, rounded_w), output_input ? As::is : As::transposed},
                 arithmetic_, {.roundings = 1});
}

BoundedMatrix Operations::linear_weight_gradient(const BoundedMatrix& x, const BoundedMatrix& dy,
                                                 bool output_input,
                                                 const RowWeights& weights) const {
  BoundedMatrix rounded_x;
  BoundedMatrix rounded_dy;
  const BoundedMatrix& a = factor_of(x, arithmetic_, rounded_x);
  const BoundedMatrix d = weighted(factor_of(dy, arithmetic_, rounded_dy), weights);
  return output_input ? product({d, As::transposed}, {a}, arithmetic_, over_rows(weights))
                      : product({a, As::transposed}, {d}, arithmetic_, over_rows(weights));
}

BoundedMatrix Operations::bias_gradient(const BoundedMatrix& dy, const RowWeights& weights) const {
  BoundedMatrix ones{1, dy.rows, std::vector<double>(dy.rows, 1.0), {}};
  FreeArithmetic plain = arithmetic_;
  plain.factor_unit = 0;  // nothing is multiplied
  return product({ones}, {weighted(dy, weights)}, plain, over_rows(weights));
}

}  // namespace meshparity
