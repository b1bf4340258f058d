// Attention: values, and bounds element by element. Rows of a sample meet here, and their unknowns
// share names without being the same ones, so no form goes through.

#include <algorithm>
#include <cmath>

#include "oracle/judged.h"
#include "oracle/judged_rows.h"

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;
using Rows = Judged::Rows;

/// One head of one sample. With the computation's scores s' = s + (error),
///
///     p_k' = exp(fl(s_k' - m')) (1 + f_k) = exp(s_k - m') exp(alpha_k),   |alpha_k| <= a_k,
///
/// and with P = softmax(s), w_k = P_k exp(alpha_k), the largest score m' and all other common
/// factors fall out of every quotient:
///
///     P_k' = w_k / sum w,    o' = sum w_k r_k v_k' / sum w.
class JudgedHead {
 public:
  JudgedHead(const Rounded& qkv, const SelfAttentionSpec& spec, const MicroBatch& batch,
             const Rules& rules, std::size_t sample, std::size_t head)
      : rules_(rules),
        arithmetic_(rules.arithmetic),
        over_parts_{.grain = 1, .fused = true, .leaves = equations::parts_of(batch.leaves)},
        positions_(static_cast<Index>(batch.leaves.positions)),
        first_row_(static_cast<Index>(sample) * positions_),
        size_(qkv.value.cols() / 3 / static_cast<Index>(spec.heads)),
        first_column_(static_cast<Index>(head) * size_),
        scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(size_)))),
        q_(part(qkv, 3 * first_column_)),
        k_(part(qkv, 3 * first_column_ + size_)),
        v_(part(qkv, 3 * first_column_ + 2 * size_)) {
    select(equations::Dropped(batch, spec.weights), batch.leaves, head);
    find_probabilities();
  }

  void forward(Rounded& output) const {
    const Rounded weights = selected(probabilities_);
    const Matrix values = weights.value * v_.value;
    // Roundings of the sum, as it stands divided by the sum of the powers, which is at least 1.
    Matrix bound = own_bound(weights, v_, over_parts_, rules_);
    for (Index i = 0; i < positions_; ++i) {
      for (Index j = 0; j < size_; ++j) {
        // o' - o = sum P_k (exp(alpha_k) - 1) (r_k v_k - o) / sum w, and what is off in v and in
        // the products p r.
        double by_scores = 0;
        double by_values = 0;
        double farthest = 0;
        for (Index k = 0; k <= i; ++k) {
          const double p = probabilities_.value(i, k);
          const double away = std::abs(factors_(i, k) * v_.value(k, j) - values(i, j));
          by_scores += p * std::expm1(logarithms_(i, k)) * away;
          farthest = std::max(farthest, away);
          const double rounded = is_selected_ ? arithmetic_.unit : 0;
          const double size = std::abs(v_.value(k, j)) + v_.bound(k, j);
          by_values +=
              weights.value(i, k) * std::exp(logarithms_(i, k)) * (v_.bound(k, j) + rounded * size);
          by_values += 4 * arithmetic_.underflow * factors_(i, k) * size;
        }
        // No mean is outside the range of what it is a mean of.
        double all =
            bound(i, j) + std::min(by_scores / total_low_(i), farthest) + by_values / total_low_(i);
        all += total_error_(i) / (1 - total_error_(i)) * (std::abs(values(i, j)) + all);
        all += own_rounding(values(i, j), all, arithmetic_);
        output.value(first_row_ + i, first_column_ + j) = values(i, j);
        output.bound(first_row_ + i, first_column_ + j) = all;
      }
    }
  }

  void backward(const Rounded& output, const Rounded& d_output, Rounded& d_qkv) const {
    const Rounded o = part(output, first_column_);
    const Rounded d_o = part(d_output, first_column_);
    const Rounded d_scores = gradient_of_scores(o, d_o);
    const Rounded weights = selected(divided());
    put(scaled(product(d_scores, k_)), 0, d_qkv);
    put(scaled(product(transposed(d_scores), q_)), 1, d_qkv);
    put(product(transposed(weights), d_o), 2, d_qkv);
  }

 private:
  static Rounded transposed(const Rounded& x) { return {x.value.transpose(), x.bound.transpose()}; }
  Rounded part(const Rounded& rows, Index column) const {
    return {rows.value.block(first_row_, column, positions_, size_),
            rows.bound.block(first_row_, column, positions_, size_)};
  }
  void put(const Rounded& x, Index which, Rounded& d_qkv) const {
    const Index column = 3 * first_column_ + which * size_;
    d_qkv.value.block(first_row_, column, positions_, size_) = x.value;
    d_qkv.bound.block(first_row_, column, positions_, size_) = x.bound;
  }
  Rounded product(const Rounded& a, const Rounded& b) const {
    return {a.value * b.value, product_bound(a, b, over_parts_, rules_)};
  }
  /// Products of rows: one leaf of d terms.
  Rounded scores_of(const Rounded& a, const Rounded& b) const {
    const Rounded other = transposed(b);
    const Sum sum{.grain = static_cast<std::size_t>(size_), .fused = true};
    return {a.value * other.value, product_bound(a, other, sum, rules_)};
  }
  Rounded scaled(Rounded x) const {
    x.value *= scale_;
    x.bound *= scale_;
    x.bound += own_roundings(x.value, x.bound, arithmetic_);
    return x;
  }

  /// factors_: r, and +0 where a key is not seen.
  void select(const equations::Dropped& dropped, const RowLeaves& leaves, std::size_t head) {
    is_selected_ = dropped.active();
    factors_ = Matrix::Zero(positions_, positions_);
    const std::size_t sequence = leaves.sequence > 0 ? leaves.sequence : leaves.positions;
    for (Index i = 0; i < positions_; ++i) {
      for (Index k = 0; k <= i; ++k) {
        const bool kept = dropped.keeps(static_cast<std::size_t>(first_row_ + i),
                                        head * sequence + static_cast<std::size_t>(k));
        factors_(i, k) = kept ? dropped.scale() : 0;
      }
    }
  }

  /// P and the bounds a_k; what the sum of the powers is off, and how small sum w can be.
  void find_probabilities() {
    const Rounded scores = scaled(scores_of(q_, k_));
    probabilities_ = exactly(Matrix::Zero(positions_, positions_));
    logarithms_ = Matrix::Zero(positions_, positions_);
    total_low_ = Row::Zero(positions_);
    total_error_ = Row::Zero(positions_);
    for (Index i = 0; i < positions_; ++i) {
      const Index seen = i + 1;
      const Row s = scores.value.row(i).head(seen);
      const Row doubt = scores.bound.row(i).head(seen);
      const Row below = s.array() - s.maxCoeff();
      const Row powers = below.array().exp();
      const Row p = powers / powers.sum();
      // The difference's rounding, this oracle's exponential and its sum; and the function.
      const Row a = doubt.array() + arithmetic_.unit * (below.cwiseAbs() + doubt).array() +
                    arithmetic_.unit * doubt.maxCoeff() +
                    kOracleUnit * (static_cast<double>(seen) + 4 + below.cwiseAbs().array()) -
                    std::log1p(-arithmetic_.function_error);
      const Row up = a.array().exp();
      total_low_(i) = p.dot(up.cwiseInverse());
      const double total_high = p.dot(up);
      for (Index k = 0; k < seen; ++k) {
        // Both are below 1.
        const double moved = std::max(up(k) / total_low_(i) - 1, 1 - 1 / (up(k) * total_high));
        const double bound = p(k) * moved + 4 * arithmetic_.underflow;
        probabilities_.bound(i, k) = std::min(bound, std::max(p(k), 1 - p(k)));
      }
      probabilities_.value.row(i).head(seen) = p;
      logarithms_.row(i).head(seen) = a;
      // The sum of the powers is at least 1, so it is off by no more than this part of itself.
      total_error_(i) =
          lane_sum_bound(probabilities_.value.row(i), probabilities_.bound.row(i), lanes(), rules_);
    }
  }
  Sum lanes() const { return {.grain = 1, .fused = false, .leaves = over_parts_.leaves}; }

  /// P as backward has it: divided by the rounded sum of the powers.
  Rounded divided() const {
    Rounded p = probabilities_;
    for (Index i = 0; i < positions_; ++i) {
      for (Index k = 0; k <= i; ++k) {
        double& bound = p.bound(i, k);
        bound += total_error_(i) / (1 - total_error_(i)) * (p.value(i, k) + bound);
        bound += own_rounding(p.value(i, k), bound, arithmetic_);
        // No power is above the sum.
        bound = std::min(bound, 1 + 2 * total_error_(i) + 2 * arithmetic_.unit);
      }
    }
    return p;
  }

  /// x r.
  Rounded selected(const Rounded& x) const {
    Rounded result{x.value.cwiseProduct(factors_), x.bound.cwiseProduct(factors_)};
    if (!is_selected_) return result;
    const Matrix own = own_roundings(result.value, result.bound, arithmetic_);
    result.bound += (factors_.array() != 0).select(own, 0);
    return result;
  }

  /// dS = P (r (dO v) - D), D = dO o: what is off in dO, v and o is taken of the difference
  /// dO (r v - o) as a whole.
  Rounded gradient_of_scores(const Rounded& o, const Rounded& d_o) const {
    const Sum sum{.grain = static_cast<std::size_t>(size_), .fused = true};
    const Rounded v = transposed(v_);
    const Matrix to_values = d_o.value * v.value;
    const Matrix own = own_bound(d_o, v, sum, rules_);
    const Rounded p = divided();
    Rounded result = exactly(Matrix::Zero(positions_, positions_));
    for (Index i = 0; i < positions_; ++i) {
      const Row size = d_o.value.row(i).cwiseAbs() + d_o.bound.row(i);
      const Row terms = d_o.value.row(i).cwiseProduct(o.value.row(i));
      const Row doubts = d_o.bound.row(i).cwiseProduct(o.value.row(i).cwiseAbs()) +
                         size.cwiseProduct(o.bound.row(i));
      const double d = terms.sum();
      const double d_own = lane_sum_bound(terms, doubts, sum, rules_);
      for (Index k = 0; k <= i; ++k) {
        const double r = factors_(i, k);
        const Row away = r * v_.value.row(k) - o.value.row(i);
        double bound = d_o.bound.row(i).dot(away.cwiseAbs()) +
                       size.dot(r * v_.bound.row(k) + o.bound.row(i)) + r * own(i, k) + d_own;
        if (is_selected_ && r != 0) {
          bound += own_rounding(r * to_values(i, k), bound + doubts.sum(), arithmetic_);
        }
        const double difference = r * to_values(i, k) - d;
        bound += own_rounding(difference, bound, arithmetic_);
        const double product = p.value(i, k) * difference;
        double all = p.value(i, k) * bound + p.bound(i, k) * (std::abs(difference) + bound);
        all += own_rounding(product, all, arithmetic_);
        result.value(i, k) = product;
        result.bound(i, k) = all;
      }
    }
    return result;
  }

  const Rules& rules_;
  const Arithmetic& arithmetic_;
  Sum over_parts_;
  Index positions_;
  Index first_row_;
  Index size_;  // d
  Index first_column_;
  double scale_;
  Rounded q_, k_, v_;
  Matrix factors_;
  bool is_selected_ = false;
  Rounded probabilities_;  // P, before any rounding of their sum
  Matrix logarithms_;      // a
  Row total_low_;          // sum w is at least this
  Row total_error_;        // relative
};

template <typename Use>
void for_each_head(const MicroBatch& batch, const SelfAttentionSpec& spec, const Use& use) {
  for (std::size_t sample = 0; sample < batch.samples(); ++sample) {
    for (std::size_t head = 0; head < spec.heads; ++head) use(sample, head);
  }
}

}  // namespace

Rows Judged::attention(const Rows& qkv, const SelfAttentionSpec& spec) {
  Rounded output = exactly(Matrix::Zero(qkv.value.rows(), qkv.value.cols() / 3));
  for_each_head(batch_, spec, [&](std::size_t sample, std::size_t head) {
    JudgedHead(qkv, spec, batch_, rules_, sample, head).forward(output);
  });
  return only_bounded(output);
}

Rows Judged::attention_gradient(const Rows& qkv, const Rows& output, const Rows& d_output,
                                const SelfAttentionSpec& spec) {
  Rounded d_qkv = exactly(Matrix::Zero(qkv.value.rows(), qkv.value.cols()));
  for_each_head(batch_, spec, [&](std::size_t sample, std::size_t head) {
    JudgedHead(qkv, spec, batch_, rules_, sample, head).backward(output, d_output, d_qkv);
  });
  return only_bounded(d_qkv);
}

}  // namespace meshparity::rounding
