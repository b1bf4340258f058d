// Softmax cross-entropy, row by row.

#include <cmath>
#include <stdexcept>

#include "oracle/in_parallel.h"
#include "oracle/near.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

using near::kFunction;
using near::kUnit;
using near::Near;

/// One row's probabilities and loss. Doubts as in attention's softmax: a_j of the power of logit j,
/// L of the logarithm of the sum of all.
class SoftmaxRow {
 public:
  SoftmaxRow(const BoundedMatrix& logits, std::size_t row, const FreeArithmetic& arithmetic)
      : logits_(logits), first_(row * logits.columns) {
    const std::size_t n = logits.columns;
    most_ = -near::kInfinity;
    double largest_doubt = 0;
    for (std::size_t j = 0; j < n; ++j) {
      most_ = std::max(most_, z(j));
      largest_doubt = std::max(largest_doubt, logits.bound_of(first_ + j));
    }
    of_row_ = kUnit * (2 * largest_doubt + 2 * std::abs(most_)) + kFunction + kUnit;
    double sum = 0;
    double moved = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double power = std::exp(z(j) - most_);
      sum += power;
      moved += power * std::expm1(doubt(j));
    }
    log_sum_ = std::log(sum);
    const double gamma = near::gamma(near::depth(n, arithmetic) + 2);
    log_sum_doubt_ = std::log1p(moved / sum) + gamma + static_cast<double>(n) * near::kUnderflow;
  }

  /// log(sum of powers) - z_target, the largest logit subtracted from both or from neither.
  Near loss(std::size_t target) const {
    const double value = log_sum_ + most_ - z(target);
    const double inherited = log_sum_doubt_ + kFunction * log_sum_ + doubt(target);
    const double own = 3 * kUnit * (log_sum_ + std::abs(most_) + std::abs(z(target)));
    return near::rounded(value, inherited + own);
  }

  /// By dividing by the sum, or as the power of what is left when its logarithm is subtracted.
  Near probability(std::size_t j) const {
    const double value = std::exp(z(j) - most_ - log_sum_);
    const double logarithm = std::abs(z(j) - most_) + log_sum_;
    const double relative = doubt(j) + log_sum_doubt_ + 4 * kUnit * (logarithm + std::abs(most_)) +
                            kFunction * (1 + log_sum_) + 2 * kUnit;
    return {value, value * std::expm1(relative) + near::kUnderflow};
  }

 private:
  double z(std::size_t j) const { return logits_.value[first_ + j]; }
  double doubt(std::size_t j) const {
    return logits_.bound_of(first_ + j) + kUnit * (std::abs(z(j) - most_) + std::abs(z(j))) +
           of_row_;
  }

  const BoundedMatrix& logits_;
  std::size_t first_;
  double most_ = 0;
  double of_row_ = 0;
  double log_sum_ = 0;
  double log_sum_doubt_ = 0;
};

void require_targets(const BoundedMatrix& logits, std::span<const int> targets) {
  bool fit = targets.size() == logits.rows;
  for (const int target : targets) {
    fit = fit && (target < 0 || static_cast<std::size_t>(target) < logits.columns);
  }
  if (!fit) throw std::invalid_argument("targets do not fit the logits");
}

}  // namespace

BoundedMatrix Operations::cross_entropy(const BoundedMatrix& logits,
                                        std::span<const int> targets) const {
  require_targets(logits, targets);
  BoundedMatrix losses = near::room(logits.rows, 1);
  in_parallel(logits.rows, 100 * logits.columns, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (targets[i] < 0) continue;
      const SoftmaxRow row(logits, i, arithmetic_);
      near::put(losses, i, row.loss(static_cast<std::size_t>(targets[i])));
    }
  });
  return losses;
}

BoundedMatrix Operations::mean_loss(const BoundedMatrix& losses, std::size_t begin, std::size_t end,
                                    double scale) const {
  near::Total total;
  for (std::size_t i = begin; i < end; ++i) {
    if (losses.value[i] != 0 || losses.bound_of(i) != 0) total.add(near::at(losses, i));
  }
  // A count of targets is exact, the rest of the scale may be two more factors.
  const Near sum = total.result(arithmetic_) * Near{scale, 3 * kUnit * scale};
  BoundedMatrix mean = near::room(1, 1);
  near::put(mean, 0, near::stored(sum, arithmetic_));
  return mean;
}

BoundedMatrix Operations::cross_entropy_gradient(const BoundedMatrix& logits,
                                                 std::span<const int> targets,
                                                 std::span<const double> scales) const {
  require_targets(logits, targets);
  BoundedMatrix d = near::room(logits.rows, logits.columns);
  in_parallel(logits.rows, 100 * logits.columns, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (targets[i] < 0) continue;
      const SoftmaxRow row(logits, i, arithmetic_);
      const auto target = static_cast<std::size_t>(targets[i]);
      const Near scale{scales[i], 3 * kUnit * std::abs(scales[i])};
      for (std::size_t j = 0; j < logits.columns; ++j) {
        const Near p = row.probability(j);
        const Near element = (j == target ? p - Near{1, 0} : p) * scale;
        near::put(d, i * logits.columns + j, near::stored(element, arithmetic_));
      }
    }
  });
  return d;
}

}  // namespace meshparity
