#pragma once

#include <cstddef>
#include <span>

#include "model/numerics/canonical_sum.h"
#include "model/layer.h"

namespace meshparity {

/// Softmax and cross-entropy of each sample, and the sum of the losses.
///
///     p_j = e^(z_j - max z) / S,  S = sum_j e^(z_j - max z),  loss = log S - (z_target - max z)
///
/// logits: (samples, vocabulary); probabilities has room for as much. Sums over the vocabulary have
/// grain `vocab_grain`. The losses are pushed onto `loss_sum` (width 1), one leaf of the batch at a
/// time.
void softmax_cross_entropy_forward(const MicroBatch& batch, std::span<const float> logits,
                                   std::size_t vocab_grain, std::span<float> probabilities,
                                   PartialSum& loss_sum);

/// The same, and the gradient of the global batch's mean loss in place of the probabilities:
///
///     logit_gradient_j = (p_j - [j is the target]) * inverse_batch
///
/// `inverse_batch` = 1 / samples of the *global* batch, rounded once: from here on everything is a
/// sum, and there is no other mean. logit_gradient: (samples, vocabulary).
void softmax_cross_entropy(const MicroBatch& batch, std::span<const float> logits,
                           std::size_t vocab_grain, float inverse_batch,
                           std::span<float> logit_gradient, PartialSum& loss_sum);

}  // namespace meshparity
