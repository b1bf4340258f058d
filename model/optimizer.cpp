#include "model/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/numerics/functions.h"
#include "model/numerics/kernels.h"

namespace meshparity {

double learning_rate(const Recipe& recipe, std::size_t step) {
  const auto number = [](std::size_t n) { return static_cast<double>(n); };
  if (step < recipe.warmup) return recipe.lr * number(step + 1) / number(recipe.warmup);
  const bool late = recipe.decay == LrDecay::wsd;
  const std::size_t begin =
      late ? std::max(recipe.warmup, recipe.steps - recipe.steps / 10) : recipe.warmup;
  if (recipe.decay == LrDecay::constant || step < begin) return recipe.lr;
  const double q = number(step - begin) / number(recipe.steps - begin);
  const double range = recipe.lr - recipe.min_lr;
  if (recipe.decay != LrDecay::cosine) return recipe.lr - q * range;
  return recipe.min_lr + (1 + portable_cos_pi(q)) / 2 * range;
}

float clip_factor(const Recipe& recipe, double norm) {
  if (recipe.clip == 0 || norm == 0) return 1;
  return static_cast<float>(std::min(1.0, recipe.clip / norm));
}

Optimizer::Optimizer(const Recipe& recipe, std::span<const Shard> shards,
                     std::vector<std::span<float>> owned, const TrainingStart& start)
    : recipe_(recipe), owned_(std::move(owned)) {
  for (std::size_t p = 0; p < owned_.size(); ++p) {
    decays_.push_back(shards[p].spec.decays);
    if (recipe.optimizer != OptimizerKind::adamw) continue;
    first_moments_.emplace_back(owned_[p].size());
    second_moments_.emplace_back(owned_[p].size());
    if (start.first_moments != nullptr) start.first_moments->fill(shards[p], first_moments_[p]);
    if (start.second_moments != nullptr) start.second_moments->fill(shards[p], second_moments_[p]);
  }
  // The same products as in a run that did not stop: rounded step by step.
  for (std::size_t step = 0; step < start.step; ++step) count_step();
}

std::vector<ShardView> Optimizer::with_state(std::vector<ShardView> shards) const {
  for (std::size_t p = 0; p < first_moments_.size(); ++p) {
    shards[p].first_moment = first_moments_[p];
    shards[p].second_moment = second_moments_[p];
  }
  return shards;
}

void Optimizer::start_step(std::size_t step, double norm) {
  const double lr = learning_rate(recipe_, step);
  lr_ = static_cast<float>(lr);
  count_step();
  adamw_ = {.clip = clip_factor(recipe_, norm),
            .beta1 = static_cast<float>(recipe_.beta1),
            .one_minus_beta1 = static_cast<float>(1 - recipe_.beta1),
            .beta2 = static_cast<float>(recipe_.beta2),
            .one_minus_beta2 = static_cast<float>(1 - recipe_.beta2),
            .step_size = static_cast<float>(lr / (1 - beta1_power_)),
            .inverse_root = static_cast<float>(1 / std::sqrt(1 - beta2_power_)),
            .epsilon = static_cast<float>(recipe_.epsilon),
            .decay = static_cast<float>(lr * recipe_.weight_decay)};
}

void Optimizer::count_step() {
  beta1_power_ = recipe_.beta1 * beta1_power_;
  beta2_power_ = recipe_.beta2 * beta2_power_;
}

void Optimizer::update(std::size_t parameter, std::span<const float> gradient) {
  if (recipe_.optimizer == OptimizerKind::sgd) {
    sgd_update(gradient, adamw_.clip, lr_, owned_[parameter]);
    return;
  }
  adamw_.decays = decays_[parameter];
  adamw_update(adamw_, gradient, first_moments_[parameter], second_moments_[parameter],
               owned_[parameter]);
}

void Optimizer::update(std::span<const ShardView> shards) {
  for (std::size_t p = 0; p < owned_.size(); ++p) update(p, shards[p].gradient);
}

std::vector<std::span<float>> all_values(Parameters& parameters) {
  std::vector<std::span<float>> values;
  for (std::size_t p = 0; p < parameters.size(); ++p) values.push_back(parameters.values(p));
  return values;
}

}  // namespace meshparity
