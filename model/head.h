#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "model/batch.h"
#include "model/feature_group.h"
#include "model/model.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"

namespace meshparity {

/// Softmax and cross-entropy of each row that has a target.
///
///     p_j = e^(z_j - max z) / S,  S = sum_j e^(z_j - max z),  loss = log S - (z_target - max z)
///
/// Where the vocabulary is shared out, each rank has the columns of its tokens; maximum, S and the
/// target's logit are exchanged, and all ranks get the same losses.
class Head {
 public:
  /// For up to `most_rows` rows; `group` must outlive it.
  Head(const HeadSpec& spec, std::size_t most_rows, FeatureGroup& group);

  /// The tokens whose columns are here.
  Range tokens() const { return tokens_; }

  /// logits (rows, tokens here) -> probabilities, likewise. The losses are pushed onto `losses`
  /// (width 1), one leaf of the batch at a time. Collective if the vocabulary is shared out.
  void evaluate(const MicroBatch& batch, std::span<const float> logits,
                std::span<float> probabilities, PartialSum& losses);

  /// The same, and the gradient of the global batch's mean loss in place of the probabilities:
  ///
  ///     logit_gradient_j = (p_j - [j is the target]) * inverse_targets
  ///
  /// `inverse_targets` = 1 / targets of the *global* batch, rounded once: from here on everything
  /// is a sum, and there is no other mean. Without a target, a row's gradient is +0.
  void losses(const MicroBatch& batch, std::span<const float> logits,
              std::span<float> logit_gradient, PartialSum& losses);

 private:
  /// Probabilities; and for each row its largest logit, log S and its target's logit.
  void softmax(const MicroBatch& batch, std::span<const float> logits,
               std::span<float> probabilities);
  void shared_softmax(std::size_t rows, std::span<const float> logits,
                      std::span<float> probabilities);
  void push_losses(const MicroBatch& batch, PartialSum& losses) const;
  /// Where a row's target stands in a matrix (rows, tokens here), if it is here.
  std::optional<std::size_t> place_of_target(const MicroBatch& batch, std::size_t row) const;

  HeadSpec spec_;
  FeatureGroup& group_;
  Range tokens_;
  std::unique_ptr<FeatureSum> sum_;       // S, if the vocabulary is shared out
  std::unique_ptr<FeatureRows> targets_;  // the targets' logits, likewise
  AlignedFloats largest_;                 // (rows)
  AlignedFloats log_sum_;                 // (rows)
  AlignedFloats target_logit_;            // (rows)
};

}  // namespace meshparity
