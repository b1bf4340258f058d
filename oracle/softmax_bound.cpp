#include "oracle/softmax_bound.h"

#include <algorithm>
#include <cmath>

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;

/// A bound on |sum' / sum - 1| for the sum of the powers, all of them positive.
double sum_error(std::size_t terms, std::size_t vocab_grain, const Rules& rules) {
  // A leaf of c terms is 16 lanes (chains of at most ceil(c / 16) terms, whose first addition, to
  // +0, is exact) and a tree of 4 levels over them, but no more than c - 1 additions that are not
  // of a +0; then come the leaves.
  std::size_t depth = terms;
  if (rules.order != SumOrder::any) {
    const std::size_t in_leaf = std::min(vocab_grain, terms);
    const std::size_t in_lanes = std::min((in_leaf + 15) / 16 - 1 + 4, in_leaf - 1);
    depth = in_lanes + sum_depth(terms, vocab_grain, rules.order) - in_leaf;
  }
  // The computation's own maximum makes one of the powers e^0 = 1, so no sum is below 1 and an
  // underflow weighs no more than itself.
  const auto n = static_cast<double>(terms);
  return gamma(depth, rules.arithmetic) + kOracleUnit * (n + 1) +
         4 * n * rules.arithmetic.underflow;
}

/// The computation takes its own maximum m', which may differ from m = max z, but neither losses
/// nor probabilities depend on that. Its powers are
///
///     exp(fl(z_k' - m')) (1 + f_k) = exp(z_k - m') * exp(alpha_k),
///     alpha_k = (error of z_k) + (rounding of the difference) + log(1 + f_k)
///
/// a linear form again. With mu = sum p_k alpha_k and beta = alpha - mu, exactly
///
///     p_j' = p_j exp(beta_j) / (1 + e),   loss' = loss + mu - alpha_target + log(1 + e),
///     0 <= e = sum p_k (exp(beta_k) - 1 - beta_k) <= E = sum p_k b_k^2 / 2 exp(b_k),
///     |beta_k| <= b_k
///
/// so that p_j' - p_j is the form p_j beta_j, and something of second order:
///
///     |p_j' / p_j - 1 - beta_j| = |exp(beta_j) - 1 - beta_j - e (1 + beta_j)| / (1 + e)
///                              <= b_j^2 / 2 exp(b_j) + E (1 + b_j)
class SoftmaxErrors {
 public:
  SoftmaxErrors(const SoftmaxRow& row, double sum_bound, const Rules& rules, RowErrors& errors,
                Unknown first)
      : row_(row),
        sum_bound_(sum_bound),
        arithmetic_(rules.arithmetic),
        errors_(errors),
        last_unknowns_(first + 2 * row.logits.size()) {
    const Row doubt = errors.bound();
    const Row below = row.logits.array() - row.logits.maxCoeff();
    errors.add(
        arithmetic_.unit * (below.cwiseAbs() + doubt).array() + arithmetic_.unit * doubt.maxCoeff(),
        first);
    errors.settle();
    differences_ = errors.generators().rows();
    log_size_ = std::log(below.array().exp().sum()) + doubt.maxCoeff();
    errors.add(Row::Constant(doubt.size(), -std::log1p(-arithmetic_.function_error)),
               first + doubt.size());
    errors.settle();

    const Matrix& alpha = errors.generators();
    sizes_ = errors.bound();
    mu_ = alpha * row.probabilities.transpose();
    beta_ = alpha.colwise() - mu_;
    b_ = beta_.cwiseAbs().colwise().sum();
    // The last term: this oracle's roundings of the means.
    b_.array() += 2 * kOracleUnit * static_cast<double>(b_.size() + 2) * sizes_.maxCoeff();
    small_ = b_.maxCoeff() < 1;
    curvature_ = Row::Zero(b_.size());
    if (!small_) return;
    // x^2 / 2 exp(x), no less than exp(x) - 1 - x.
    curvature_ = b_.array().square() / 2 * b_.array().exp();
    second_order_ = row.probabilities.dot(curvature_);
  }

  double loss_bound() const {
    // No weighted mean of exp(x_k) is outside the range of its terms.
    const double target_size =
        errors_.generators().topRows(differences_).col(row_.target).cwiseAbs().sum();
    double bound = sizes_.maxCoeff() + target_size;
    if (small_) {
      Eigen::VectorXd apart = mu_;
      apart.head(differences_) -= errors_.generators().topRows(differences_).col(row_.target);
      const double own = 2 * kOracleUnit * static_cast<double>(b_.size() + 2) * bound;
      bound = std::min(bound, apart.cwiseAbs().sum() + own + second_order_);
    }
    const double sum_moved = -std::log1p(-sum_bound_);
    const double log_size = log_size_ + sizes_.maxCoeff() + sum_moved;
    bound += sum_moved + arithmetic_.function_error * log_size + arithmetic_.underflow;
    return bound + own_rounding(row_.loss, bound, arithmetic_);
  }

  void to_differences() {
    const Row& p = row_.probabilities;
    const auto n = static_cast<double>(p.size());
    Matrix scaled = beta_.array().rowwise() * p.array();
    Row added = Row::Zero(p.size());
    const double own = 2 * kOracleUnit * (n + 2) * sizes_.maxCoeff();
    for (Index j = 0; j < p.size(); ++j) {
      const double form = p(j) * b_(j);
      const double curved = p(j) * (curvature_(j) + second_order_ * (1 + b_(j)) + own);
      // Dividing by a sum that is off by sum_bound_, and one of the powers below the subnormals.
      const double top = p(j) + form + curved;
      double rest = curved + top * sum_bound_ / (1 - sum_bound_) + 4 * arithmetic_.underflow;
      // The sum holds the power and no term is negative, so p_j' is hardly above 1.
      const double limit = std::max(p(j), 1 + 2 * sum_bound_ - p(j)) + 2 * arithmetic_.unit;
      if (!small_ || form + rest > limit) {
        scaled.col(j).setZero();
        rest = limit;
      }
      const double all = std::min(form + rest, limit);
      rest += own_rounding(p(j), all, arithmetic_);
      // p - 0 is exact, p - 1 is one more operation.
      if (j == row_.target) rest += own_rounding(p(j) - 1, form + rest, arithmetic_);
      added(j) = rest;
    }
    errors_.replace(std::move(scaled));
    errors_.add(added, last_unknowns_);
  }

 private:
  const SoftmaxRow& row_;
  const double sum_bound_;
  const Arithmetic& arithmetic_;
  RowErrors& errors_;
  const Unknown last_unknowns_;
  Index differences_ = 0;  // unknowns of fl(z_k' - m'); the others are those of exp
  double log_size_ = 0;
  double second_order_ = 0;  // E
  bool small_ = false;       // otherwise the expansion says nothing
  Row sizes_;                // bounds of alpha
  Eigen::VectorXd mu_;
  Matrix beta_;
  Row b_;
  Row curvature_;
};

}  // namespace

double softmax_bound(const SoftmaxRow& row, std::size_t vocab_grain, const Rules& rules,
                     RowErrors& errors, Unknown first) {
  const auto terms = static_cast<std::size_t>(row.logits.size());
  SoftmaxErrors softmax(row, sum_error(terms, vocab_grain, rules), rules, errors, first);
  const double bound = softmax.loss_bound();
  softmax.to_differences();
  return bound;
}

}  // namespace meshparity::rounding
