// Updates, element by element: every number is within a bound, and every operation adds its own
// rounding.

#include <cmath>
#include <stdexcept>

#include "oracle/oracle.h"
#include "oracle/sum_bound.h"

namespace meshparity {
namespace {

using rounding::kOracleUnit;

struct RoundedNumber {
  double value = 0;
  double bound = 0;
};

/// One rounding at a time.
class RoundedOperations {
 public:
  explicit RoundedOperations(const Arithmetic& arithmetic) : arithmetic_(arithmetic) {}

  RoundedNumber product(RoundedNumber a, RoundedNumber b) const {
    return rounded({a.value * b.value, error_of(a, b)});
  }
  RoundedNumber sum(RoundedNumber a, RoundedNumber b) const {
    return rounded({a.value + b.value, a.bound + b.bound});
  }
  RoundedNumber fused(RoundedNumber a, RoundedNumber b, RoundedNumber c) const {
    // The last term is this oracle's product, before the sum.
    const double product = a.value * b.value;
    return rounded(
        {product + c.value, error_of(a, b) + c.bound + 2 * kOracleUnit * std::abs(product)});
  }
  RoundedNumber root(RoundedNumber a) const {
    if (a.bound != 0) throw std::logic_error("only of what the computation holds");
    return rounded({std::sqrt(a.value), 0});
  }
  /// Of a positive divisor that stays positive.
  RoundedNumber quotient(RoundedNumber a, RoundedNumber b) const {
    const double value = a.value / b.value;
    return rounded({value, (a.bound + std::abs(value) * b.bound) / (b.value - b.bound)});
  }

 private:
  static double error_of(RoundedNumber a, RoundedNumber b) {
    return std::abs(a.value) * b.bound + a.bound * (std::abs(b.value) + b.bound);
  }
  RoundedNumber rounded(RoundedNumber exact) const {
    exact.bound += rounding::own_rounding(exact.value, exact.bound, arithmetic_);
    return exact;
  }

  const Arithmetic& arithmetic_;
};

void append(Bounded& all, RoundedNumber element) {
  // The bounds' own arithmetic, in a few positive terms.
  all.value.push_back(element.value);
  all.bound.push_back((1 + 0x1p-20) * element.bound);
}

RoundedNumber held(float value) { return {static_cast<double>(value), 0}; }

}  // namespace

BoundedUpdate bounded_update(const UpdateUnderTest& update, const Arithmetic& arithmetic) {
  const bool has_moments = update.optimizer == OptimizerKind::adamw;
  const std::size_t size = update.values.size();
  const auto fits = [&](std::span<const float> tensor) { return tensor.size() == size; };
  if (!fits(update.gradient) ||
      (has_moments && !(fits(update.first_moment) && fits(update.second_moment) &&
                        fits(update.new_first_moment) && fits(update.new_second_moment)))) {
    throw std::invalid_argument("the tensors of an update differ in size");
  }
  const RoundedOperations does(arithmetic);
  const OptimizerNumbers& n = update.numbers;
  BoundedUpdate result;
  for (std::size_t i = 0; i < size; ++i) {
    RoundedNumber w = held(update.values[i]);
    RoundedNumber g = held(update.gradient[i]);
    if (n.clip != 1) g = does.product(held(n.clip), g);
    if (!has_moments) {
      append(result.values, does.fused(held(-n.lr), g, w));
      continue;
    }
    const RoundedNumber first_part = does.product(held(n.one_minus_beta1), g);
    append(result.first_moment,
           does.fused(held(n.beta1), held(update.first_moment[i]), first_part));
    const RoundedNumber square = does.product(does.product(held(n.one_minus_beta2), g), g);
    append(result.second_moment, does.fused(held(n.beta2), held(update.second_moment[i]), square));
    if (update.decays) w = does.fused(held(-n.decay), w, w);
    const RoundedNumber root = does.root(held(update.new_second_moment[i]));
    const RoundedNumber divisor =
        does.sum(does.product(root, held(n.inverse_root)), held(n.epsilon));
    const RoundedNumber step = does.quotient(held(update.new_first_moment[i]), divisor);
    append(result.values, does.fused(held(-n.step_size), step, w));
  }
  return result;
}

}  // namespace meshparity
