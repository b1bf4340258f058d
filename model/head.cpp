#include "model/head.h"

#include <algorithm>

#include "model/numerics/functions.h"
#include "model/numerics/kernels.h"
#include "model/numerics/transformer_kernels.h"

namespace meshparity {

Head::Head(const HeadSpec& spec, std::size_t most_rows, FeatureGroup& group)
    : spec_(spec),
      group_(group),
      tokens_(spec.split ? group.share(spec.vocabulary, spec.vocab_grain)
                         : Range{0, spec.vocabulary}),
      largest_(most_rows),
      log_sum_(most_rows),
      target_logit_(most_rows) {
  if (!spec.split) return;
  sum_ = group.sum_over(spec.vocabulary, spec.vocab_grain, most_rows);
  targets_ = group.rows_of(spec.vocabulary, spec.vocab_grain, most_rows, 1);
}

void Head::evaluate(const MicroBatch& batch, std::span<const float> logits,
                    std::span<float> probabilities, PartialSum& losses) {
  softmax(batch, logits, probabilities);
  push_losses(batch, losses);
}

void Head::losses(const MicroBatch& batch, std::span<const float> logits,
                  std::span<float> logit_gradient, PartialSum& losses) {
  softmax(batch, logits, logit_gradient);
  push_losses(batch, losses);
  for (std::size_t r = 0; r < batch.rows(); ++r) {
    const std::span<float> row = logit_gradient.subspan(r * tokens_.size(), tokens_.size());
    if (batch.targets[r] == kNoTarget) {
      std::ranges::fill(row, 0.0F);
      continue;
    }
    const std::optional<std::size_t> target = place_of_target(batch, r);
    const float probability = target ? logit_gradient[*target] : 0.0F;
    scale(row, batch.inverse_targets, row);  // p - 0 is p; only the target differs
    if (target) logit_gradient[*target] = (probability - 1.0F) * batch.inverse_targets;
  }
}

void Head::softmax(const MicroBatch& batch, std::span<const float> logits,
                   std::span<float> probabilities) {
  const std::size_t rows = batch.rows();
  if (spec_.split) {
    shared_softmax(rows, logits, probabilities);
  } else {
    softmax_rows(logits, rows, spec_.vocab_grain, probabilities.first(logits.size()), largest_,
                 log_sum_);
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const std::optional<std::size_t> target = place_of_target(batch, r);
    if (target) target_logit_[r] = logits[*target];
  }
  const auto target_logits = std::span<float>(target_logit_).first(rows);
  if (spec_.split) targets_->exchange(batch.targets, target_logits);
}

/// What softmax_rows does, an operation at a time.
void Head::shared_softmax(std::size_t rows, std::span<const float> logits,
                          std::span<float> probabilities) {
  const std::size_t width = tokens_.size();
  const std::span<float> powers = probabilities.first(rows * width);
  const auto largest = std::span<float>(largest_).first(rows);
  const auto sums = std::span<float>(log_sum_).first(rows);
  largest_of_rows(logits, rows, largest);
  group_.maximum(largest);  // of the columns here -> of all
  powers_of_rows(logits, largest, powers);
  sum_->row_sums(powers, sums);  // partial -> replicated
  for (std::size_t r = 0; r < rows; ++r) {
    for (float& p : powers.subspan(r * width, width)) p = p / sums[r];
    sums[r] = portable_log(sums[r]);
  }
}

void Head::push_losses(const MicroBatch& batch, PartialSum& losses) const {
  for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
    const Range rows = batch.leaves.rows_of(leaf, batch.samples());
    float sum = 0.0F;
    for (std::size_t r = rows.begin; r < rows.end; ++r) {
      if (batch.targets[r] == kNoTarget) continue;
      sum = sum + (log_sum_[r] - (target_logit_[r] - largest_[r]));
    }
    losses.next()[0] = sum;
    losses.push();
  }
}

std::optional<std::size_t> Head::place_of_target(const MicroBatch& batch, std::size_t row) const {
  if (batch.targets[row] == kNoTarget) return std::nullopt;
  const auto token = static_cast<std::size_t>(batch.targets[row]);
  if (token < tokens_.begin || token >= tokens_.end) return std::nullopt;
  return row * tokens_.size() + (token - tokens_.begin);
}

}  // namespace meshparity
