#pragma once

#include <cstddef>
#include <span>

#include "model/batch.h"
#include "model/model.h"
#include "model/numerics/canonical_sum.h"

namespace meshparity {

/// Softmax and cross-entropy of each row that has a target.
///
///     p_j = e^(z_j - max z) / S,  S = sum_j e^(z_j - max z),  loss = log S - (z_target - max z)
class Head {
 public:
  explicit Head(const HeadSpec& spec) : spec_(spec) {}

  /// logits (rows, vocabulary) -> probabilities, likewise. The losses are pushed onto `losses`
  /// (width 1), one leaf of the batch at a time.
  void evaluate(const MicroBatch& batch, std::span<const float> logits,
                std::span<float> probabilities, PartialSum& losses) const;

  /// The same, and the gradient of the global batch's mean loss in place of the probabilities:
  ///
  ///     logit_gradient_j = (p_j - [j is the target]) * inverse_targets
  ///
  /// `inverse_targets` = 1 / targets of the *global* batch, rounded once: from here on everything
  /// is a sum, and there is no other mean. Without a target, a row's gradient is +0.
  void losses(const MicroBatch& batch, std::span<const float> logits,
              std::span<float> logit_gradient, PartialSum& losses) const;

 private:
  HeadSpec spec_;
};

}  // namespace meshparity
