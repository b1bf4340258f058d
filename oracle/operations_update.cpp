// Optimizers, element by element, in the forms that frameworks have.

#include <cmath>
#include <stdexcept>

#include "oracle/in_parallel.h"
#include "oracle/near.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

using near::at;
using near::either;
using near::kUnit;
using near::Near;
using near::put;
using near::room;

/// A number of the recipe, rounded.
Near number(double value) { return {value, kUnit * std::abs(value)}; }
/// 1 - value, computed before or after rounding.
Near rest_of(double value) { return {1 - value, 2 * kUnit}; }

/// beta x + (1 - beta) y, or x + (1 - beta) (y - x).
Near mixed(double beta, Near x, Near y) {
  return either(number(beta) * x + rest_of(beta) * y, x + rest_of(beta) * (y - x));
}

/// 1 - beta^update; beta may have been rounded before it was raised.
Near bias_correction(double beta, std::size_t update) {
  const auto t = static_cast<double>(update);
  const double power = std::pow(beta, t);
  return {1 - power, power * (std::expm1(t * kUnit) + near::kFunction) + kUnit};
}

/// A gradient's element after clipping; a factor that is certainly 1 multiplies nothing.
Near clipped(Near gradient, BoundedNumber clip) {
  return clip.bound == 0 && clip.value == 1 ? gradient : Near{clip.value, clip.bound} * gradient;
}

template <typename Function>
void each(std::size_t count, const Function& function) {
  in_parallel(count, 200, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) function(i);
  });
}

void require_same_size(const BoundedMatrix& a, const BoundedMatrix& b) {
  if (a.value.size() != b.value.size()) {
    throw std::invalid_argument("an update's tensors differ in size");
  }
}

}  // namespace

BoundedNumber norm_of(std::span<const std::span<const float>> gradients, NormOrder order,
                      const FreeArithmetic& arithmetic) {
  double squares = 0;
  std::size_t terms = 0;
  std::size_t longest = 0;
  for (const std::span<const float> gradient : gradients) {
    double of_tensor = 0;
    for (const float g : gradient) of_tensor += static_cast<double>(g) * static_cast<double>(g);
    squares += of_tensor;
    terms += gradient.size();
    longest = std::max(longest, gradient.size());
  }
  const std::size_t depth = order == NormOrder::any
                                ? near::depth(terms, arithmetic)
                                : near::depth(longest, arithmetic) + gradients.size();
  // A tensor's norm is a root that is squared again.
  const double relative = near::gamma(depth + 4) + 4 * near::kFunction;
  const Near norm =
      near::root({squares, squares * relative + static_cast<double>(terms) * near::kUnderflow});
  return {norm.value, norm.bound};
}

BoundedNumber clip_factor(BoundedNumber norm, double max_norm, double added) {
  const auto factor = [&](double x) { return std::min(1.0, max_norm / (x + added)); };
  const double value = norm.value + added > 0 ? factor(norm.value) : 1;
  if (!std::isfinite(norm.bound)) return {value, 1};
  const double least = factor(norm.value + norm.bound);
  const double below = norm.value - norm.bound + added;
  const double most = below > 0 ? std::min(1.0, max_norm / below) : 1;
  const double moved = std::max(most - value, value - least);
  // Certainly not clipped: exactly 1.
  const bool untouched = (norm.value + norm.bound + added) * (1 + 4 * kUnit) < max_norm;
  return {value, untouched ? 0 : moved + 3 * kUnit * value};
}

/// m' = beta m + (1 - beta) c g within 8 u (|m| + c |g|), in both forms of `mixed` with the product
/// c g and 1 - beta rounded: 5 u and 7 u, and what this oracle rounds.
void FactorRange::narrow(std::span<const float> gradient, std::span<const float> first,
                         std::span<const float> first_after, double beta1) {
  const double highest = most;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = std::abs(static_cast<double>(gradient[i])) * (1 - beta1);
    if (g == 0) continue;
    const auto m = static_cast<double>(first[i]);
    const double sign = gradient[i] < 0 ? -1 : 1;
    const double factor = sign * (static_cast<double>(first_after[i]) - beta1 * m) / g;
    const double size = std::abs(m) + highest * g / (1 - beta1);
    const double doubt = (8 * kUnit * size + 4 * near::kUnderflow) / g;
    least = std::max(least, factor - doubt);
    most = std::min(most, factor + doubt);
  }
}

AdamWMoments adamw_moments(const BoundedMatrix& gradient, BoundedNumber clip,
                           const BoundedMatrix& first, const BoundedMatrix& second,
                           const AdamWNumbers& numbers) {
  require_same_size(gradient, first);
  require_same_size(gradient, second);
  AdamWMoments after{room(gradient.rows, gradient.columns), room(gradient.rows, gradient.columns)};
  each(gradient.value.size(), [&](std::size_t i) {
    const Near g = clipped(at(gradient, i), clip);
    put(after.first, i, mixed(numbers.beta1, at(first, i), g));
    put(after.second, i, mixed(numbers.beta2, at(second, i), g * g));
  });
  return after;
}

BoundedMatrix adamw_values(const BoundedMatrix& values, const AdamWMoments& moments,
                           const AdamWNumbers& numbers) {
  require_same_size(values, moments.first);
  require_same_size(values, moments.second);
  const Near correction1 = bias_correction(numbers.beta1, numbers.update);
  const Near correction2 = bias_correction(numbers.beta2, numbers.update);
  const Near root2 = near::root(correction2);
  const Near epsilon = number(numbers.epsilon);
  const Near lr = number(numbers.lr);
  const Near decay = number(numbers.weight_decay);
  BoundedMatrix after = room(values.rows, values.columns);
  each(values.value.size(), [&](std::size_t i) {
    const Near p = at(values, i);
    const Near m = at(moments.first, i);
    const Near v = at(moments.second, i);
    const Near divisor = either(near::root(v) / root2, near::root(v / correction2)) + epsilon;
    const Near step = lr * (m / correction1) / divisor;
    // Decay first, or of the whole step, or not at all.
    Near result = p - step;
    if (numbers.weight_decay != 0) {
      const Near kept = Near{1, 0} - lr * decay;
      result = either(p * kept - step, p - (step + lr * decay * p));
    }
    put(after, i, result);
  });
  return after;
}

BoundedMatrix sgd_values(const BoundedMatrix& values, const BoundedMatrix& gradient,
                         BoundedNumber clip, double lr, double weight_decay) {
  require_same_size(values, gradient);
  BoundedMatrix after = room(values.rows, values.columns);
  each(values.value.size(), [&](std::size_t i) {
    const Near p = at(values, i);
    Near d = clipped(at(gradient, i), clip);
    if (weight_decay != 0) d = d + number(weight_decay) * p;
    put(after, i, p - number(lr) * d);
  });
  return after;
}

}  // namespace meshparity
