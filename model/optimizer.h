#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/transformer_kernels.h"
#include "model/observer.h"
#include "model/parameters.h"
#include "model/recipe.h"

namespace meshparity {

/// The step size of step `step` (from 0): a linear warm-up, then the recipe's decay. With
/// q = (step - begin) / (steps - begin) of the way from where the decay begins to the end:
///
///     linear, wsd    lr - q (lr - min_lr)
///     cosine         min_lr + (1 + cos(pi q)) / 2 (lr - min_lr)
///
/// It begins after the warm-up; that of wsd when a tenth of the steps is left (Hu et al., MiniCPM,
/// arXiv:2404.06395).
double learning_rate(const Recipe& recipe, std::size_t step);

/// What a gradient is multiplied with so that its norm is at most the recipe's `clip`:
/// min(1, clip / norm), rounded once. 1 if nothing is clipped.
float clip_factor(const Recipe& recipe, double norm);

/// Updates the elements that a rank owns. Everything is element by element, so that elements may be
/// shared out in any way.
///
///     sgd      w = fma(-lr, g, w)
///     adamw    see AdamWStep; matrices decay (Loshchilov and Hutter, arXiv:1711.05101)
class Optimizer {
 public:
  /// `owned[p]` are the values of the elements `shards[p]` that this rank updates, as they are
  /// after `start.step` steps.
  Optimizer(const Recipe& recipe, std::span<const Shard> shards,
            std::vector<std::span<float>> owned, const TrainingStart& start);

  /// For observers: views of what it updates, with its state, which stays where it is.
  std::vector<ShardView> with_state(std::vector<ShardView> shards) const;

  /// True if `start_step` needs the norm of the whole gradient.
  bool needs_norm() const { return recipe_.clip > 0; }
  /// Once a step, in order, before the updates. `norm` is that of the whole gradient.
  void start_step(std::size_t step, double norm);

  /// Updates the owned elements of one parameter.
  void update(std::size_t parameter, std::span<const float> gradient);
  /// Updates all; `shards` hold their gradients.
  void update(std::span<const ShardView> shards);

 private:
  void count_step();

  Recipe recipe_;
  std::vector<std::span<float>> owned_;
  std::vector<bool> decays_;
  std::vector<AlignedFloats> first_moments_;  // of adamw
  std::vector<AlignedFloats> second_moments_;
  double beta1_power_ = 1;  // beta1^t, t steps begun in all
  double beta2_power_ = 1;
  float lr_ = 0;  // of the step that has begun
  AdamWStep adamw_;
};

/// All that a rank holds, for a rank that updates all of it.
std::vector<std::span<float>> all_values(Parameters& parameters);

}  // namespace meshparity
