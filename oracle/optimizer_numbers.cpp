#include "oracle/optimizer_numbers.h"

#include <algorithm>
#include <cmath>

#include "model/numerics/exact_sum.h"
#include "model/numerics/functions.h"

namespace meshparity {

double norm_of(const FloatTensors& gradients) {
  ExactSum squares;
  for (const auto& [name, gradient] : gradients) squares.add_squares(gradient);
  return std::sqrt(squares.rounded());
}

double scheduled_lr(const Recipe& recipe, std::size_t step) {
  const auto steps = static_cast<double>(recipe.steps);
  const auto warmup = static_cast<double>(recipe.warmup);
  const auto i = static_cast<double>(step);
  if (step < recipe.warmup) return recipe.lr * (i + 1) / warmup;
  const double fall = recipe.lr - recipe.min_lr;
  switch (recipe.decay) {
    case LrDecay::constant:
      return recipe.lr;
    case LrDecay::linear:
      return recipe.lr - (i - warmup) / (steps - warmup) * fall;
    case LrDecay::cosine: {
      const double q = (i - warmup) / (steps - warmup);
      return recipe.min_lr + (1 + portable_cos_pi(q)) / 2 * fall;
    }
    case LrDecay::wsd: {
      const double begin = std::max(warmup, steps - std::floor(steps / 10));
      return i < begin ? recipe.lr : recipe.lr - (i - begin) / (steps - begin) * fall;
    }
  }
  return recipe.lr;
}

OptimizerNumbers optimizer_numbers(const Recipe& recipe, std::size_t step,
                                   const FloatTensors& gradients) {
  const auto rounded = [](double x) { return static_cast<float>(x); };
  const double lr = scheduled_lr(recipe, step);
  double power1 = 1;  // beta1^t
  double power2 = 1;
  for (std::size_t t = 1; t <= step + 1; ++t) {
    power1 = recipe.beta1 * power1;
    power2 = recipe.beta2 * power2;
  }
  OptimizerNumbers numbers{.lr = rounded(lr),
                           .beta1 = rounded(recipe.beta1),
                           .one_minus_beta1 = rounded(1 - recipe.beta1),
                           .beta2 = rounded(recipe.beta2),
                           .one_minus_beta2 = rounded(1 - recipe.beta2),
                           .step_size = rounded(lr / (1 - power1)),
                           .inverse_root = rounded(1 / std::sqrt(1 - power2)),
                           .epsilon = rounded(recipe.epsilon),
                           .decay = rounded(lr * recipe.weight_decay)};
  if (recipe.clip > 0) {
    const double norm = norm_of(gradients);
    numbers.clip = norm == 0 ? 1 : rounded(std::min(1.0, recipe.clip / norm));
  }
  return numbers;
}

}  // namespace meshparity
