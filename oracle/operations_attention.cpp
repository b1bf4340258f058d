// Causal attention, head by head: scores, softmax, weighted values, and back.

#include <Eigen/Core>
#include <cmath>
#include <stdexcept>

#include "oracle/in_parallel.h"
#include "oracle/near.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

using Eigen::Index;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using near::kFunction;
using near::kUnderflow;
using near::kUnit;

/// Softmax in tiles rescales what it has added up before each of them: tiles of at least this many
/// keys, another premise.
constexpr std::size_t kSmallestTile = 16;

/// Values and bounds.
struct Pair {
  Matrix value;
  Matrix bound;
};

/// a b: what the factors inherit, and `own` times the sizes of the terms.
Pair times(const Pair& a, const Pair& b, double own) {
  const Matrix size_of_a = a.value.cwiseAbs();
  const Matrix size_of_b = b.value.cwiseAbs();
  Matrix bound = size_of_a * b.bound + a.bound * (size_of_b + b.bound);
  bound += own * (size_of_a * size_of_b + bound);
  bound.array() += static_cast<double>(a.value.cols()) * kUnderflow;
  return {a.value * b.value, std::move(bound)};
}

Pair transposed(const Pair& x) { return {x.value.transpose(), x.bound.transpose()}; }

/// One more rounding of relative size `unit`.
void round(Pair& x, double unit) { x.bound += unit * (x.value.cwiseAbs() + x.bound); }

class Head {
 public:
  Head(const BoundedMatrix& qkv, std::size_t first_row, const AttentionHeads& heads,
       std::size_t head, const FreeArithmetic& arithmetic)
      : arithmetic_(arithmetic), positions_(static_cast<Index>(heads.positions)) {
    const std::size_t channels = qkv.columns / 3;
    width_ = static_cast<Index>(channels / heads.heads);
    const std::size_t column = head * static_cast<std::size_t>(width_);
    q_ = block(qkv, first_row, column);
    k_ = block(qkv, first_row, channels + column);
    v_ = block(qkv, first_row, 2 * channels + column);
    scale_ = 1 / std::sqrt(static_cast<double>(width_));
    softmax();
  }

  Pair output() const { return times(p_, v_, over(positions_)); }

  struct Gradients {
    Pair q, k, v;
  };
  Gradients gradients(const Pair& dy) const {
    const Pair o = output();
    Pair dp = times(dy, transposed(v_), over(width_));
    round(dp, arithmetic_.stored_unit);
    Pair ds = weight_gradients(dy, o, dp);
    round(ds, arithmetic_.stored_unit);
    // The scale may come before or after.
    Pair dq = times(ds, k_, over(positions_) + 4 * kUnit + scale_unit());
    Pair dk = times(transposed(ds), q_, over(positions_) + 4 * kUnit + scale_unit());
    for (Pair* const scaled : {&dq, &dk}) {
      scaled->value *= scale_;
      scaled->bound *= scale_;
    }
    return {std::move(dq), std::move(dk), times(transposed(p_), dy, over(positions_))};
  }

  Pair block(const BoundedMatrix& x, std::size_t row, std::size_t column) const {
    Pair result{Matrix(positions_, width_), Matrix::Zero(positions_, width_)};
    for (Index i = 0; i < positions_; ++i) {
      const std::size_t first = (row + static_cast<std::size_t>(i)) * x.columns + column;
      for (Index j = 0; j < width_; ++j) {
        const near::Near element = near::at(x, first + static_cast<std::size_t>(j));
        result.value(i, j) = element.value;
        result.bound(i, j) = element.bound;
      }
    }
    return result;
  }

 private:
  double over(Index terms) const {
    return near::gamma(near::depth(static_cast<std::size_t>(terms), arithmetic_) + 1) + factors();
  }
  /// Rounding of both factors. bfloat16 factors are what was stored, which is counted there.
  double factors() const {
    const double unit = arithmetic_.factors_are_bfloat16 ? 0 : arithmetic_.factor_unit;
    return (1 + unit) * (1 + unit) - 1;
  }
  /// What multiplying stored queries by the scale first may round: nothing by a power of 2.
  double scale_unit() const {
    int exponent = 0;
    return std::frexp(scale_, &exponent) == 0.5 ? 0 : 2 * arithmetic_.stored_unit;
  }

  /// With m the largest score of a row and exact arithmetic from there on, the computation's powers
  /// are exp(s_j - m) exp(a_j'), |a_j'| <= a_j: the scores' own errors, the rounding of the
  /// difference (or of both products with log2(e)), of exp, and of rescaling in tiles; on the way
  /// back also of the logarithm of the sum that is subtracted there. Then
  ///
  ///     |log(sum' / sum)| <= L = log(1 + sum_j p_j (exp(a_j) - 1)),
  ///     |p_j' - p_j| <= p_j (exp(a_j + L + gamma) - 1)
  void softmax() {
    Pair s = times(q_, transposed(k_), over(width_) + 4 * kUnit + scale_unit());
    s.value *= scale_;
    s.bound *= scale_;
    round(s, arithmetic_.stored_unit);
    p_ = {Matrix::Zero(positions_, positions_), Matrix::Zero(positions_, positions_)};
    for (Index i = 0; i < positions_; ++i) {
      const Index n = i + 1;  // keys
      const Eigen::RowVectorXd row = s.value.row(i).head(n);
      const double most = row.maxCoeff();
      const Eigen::RowVectorXd powers = (row.array() - most).exp();
      const double sum = powers.sum();
      const Eigen::RowVectorXd p = powers / sum;
      const double tiles = std::ceil(static_cast<double>(n) / kSmallestTile);
      const double largest_doubt = s.bound.row(i).head(n).maxCoeff();
      const double range = most - row.minCoeff();
      const double of_row = kUnit * (4 * std::abs(most) + 2 * largest_doubt + range) +
                            (tiles + 1) * (kFunction + 2 * kUnit) +
                            (kUnit + kFunction) * 2 * (std::log(sum) + std::abs(most));
      const Eigen::RowVectorXd a =
          s.bound.row(i).head(n).array() + 4 * kUnit * row.array().abs() + of_row;
      const double sum_moved = std::log1p(
          (p.array() * a.array().unaryExpr([](double x) { return std::expm1(x); })).sum());
      const double rest =
          sum_moved + near::gamma(near::depth(static_cast<std::size_t>(n), arithmetic_) +
                                  static_cast<std::size_t>(tiles) + 4);
      p_.value.row(i).head(n) = p;
      p_.bound.row(i).head(n) = p.array() * (a.array() + rest).unaryExpr([](double x) {
        return std::expm1(x);
      }) + kUnderflow;
    }
    round(p_, arithmetic_.stored_unit);
  }

  /// ds = p (dp - D); D is the sum of p dp, or of dy o.
  Pair weight_gradients(const Pair& dy, const Pair& o, const Pair& dp) const {
    Pair ds{Matrix::Zero(positions_, positions_), Matrix::Zero(positions_, positions_)};
    for (Index i = 0; i < positions_; ++i) {
      near::Total of_weights;
      for (Index j = 0; j <= i; ++j) of_weights.add(element(p_, i, j) * element(dp, i, j));
      near::Total of_output;
      for (Index j = 0; j < width_; ++j) of_output.add(element(dy, i, j) * element(o, i, j));
      const near::Near d =
          near::either(of_weights.result(arithmetic_), of_output.result(arithmetic_));
      for (Index j = 0; j <= i; ++j) {
        const near::Near product = element(p_, i, j) * (element(dp, i, j) - d);
        // Or p dp - p D.
        const near::Near apart = element(p_, i, j) * element(dp, i, j) - element(p_, i, j) * d;
        const near::Near result = near::either(product, apart);
        ds.value(i, j) = result.value;
        ds.bound(i, j) = result.bound;
      }
    }
    return ds;
  }

  static near::Near element(const Pair& x, Index i, Index j) {
    return {x.value(i, j), x.bound(i, j)};
  }

  const FreeArithmetic& arithmetic_;
  Index positions_;
  Index width_ = 0;
  double scale_ = 1;
  Pair q_, k_, v_;
  Pair p_;
};

void put_block(BoundedMatrix& x, std::size_t row, std::size_t column, const Pair& block,
               const FreeArithmetic& arithmetic) {
  for (Index i = 0; i < block.value.rows(); ++i) {
    const std::size_t first = (row + static_cast<std::size_t>(i)) * x.columns + column;
    for (Index j = 0; j < block.value.cols(); ++j) {
      near::put(x, first + static_cast<std::size_t>(j),
                near::stored({block.value(i, j), block.bound(i, j)}, arithmetic));
    }
  }
}

/// Calls work(first row, number) for each head of each sample.
template <typename Work>
void each_head(const BoundedMatrix& qkv, const AttentionHeads& heads, const Work& work) {
  if (qkv.columns % (3 * heads.heads) != 0 || qkv.rows % heads.positions != 0) {
    throw std::invalid_argument("queries, keys and values have no whole heads or samples");
  }
  const std::size_t cost = 20 * heads.positions * heads.positions * (qkv.columns / heads.heads);
  in_parallel(qkv.rows / heads.positions * heads.heads, cost,
              [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) {
                  work(i / heads.heads * heads.positions, i % heads.heads);
                }
              });
}

}  // namespace

BoundedMatrix Operations::attention(const BoundedMatrix& qkv, const AttentionHeads& heads) const {
  BoundedMatrix y = near::room(qkv.rows, qkv.columns / 3);
  each_head(qkv, heads, [&](std::size_t row, std::size_t head) {
    const Pair output = Head(qkv, row, heads, head, arithmetic_).output();
    put_block(y, row, head * (y.columns / heads.heads), output, arithmetic_);
  });
  return y;
}

BoundedMatrix Operations::attention_gradient(const BoundedMatrix& qkv, const BoundedMatrix& dy,
                                             const AttentionHeads& heads) const {
  BoundedMatrix d = near::room(qkv.rows, qkv.columns);
  const std::size_t channels = qkv.columns / 3;
  each_head(qkv, heads, [&](std::size_t row, std::size_t number) {
    const Head head(qkv, row, heads, number, arithmetic_);
    const std::size_t own = number * (channels / heads.heads);
    const Head::Gradients gradients = head.gradients(head.block(dy, row, own));
    put_block(d, row, own, gradients.q, arithmetic_);
    put_block(d, row, channels + own, gradients.k, arithmetic_);
    put_block(d, row, 2 * channels + own, gradients.v, arithmetic_);
  });
  return d;
}

}  // namespace meshparity
