#include "model/loss.h"

#include <algorithm>
#include <array>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

constexpr std::size_t kBlock = 64;  // rows at a time

/// Runs over the samples in blocks that stay in the cache: `finish(rows, p)` gets each block's
/// samples and probabilities.
template <typename Finish>
void for_each_block_of_losses(const MicroBatch& batch, std::span<const float> logits,
                              std::size_t vocab_grain, std::span<float> probabilities,
                              PartialSum& loss_sum, Finish finish) {
  if (batch.samples == 0) return;
  std::array<float, kBlock> largest{};
  std::array<float, kBlock> log_sum{};
  const std::size_t vocabulary = logits.size() / batch.samples;
  for (std::size_t first = 0; first < batch.samples; first += batch.batch_grain) {
    const std::size_t end = std::min(first + batch.batch_grain, batch.samples);
    float leaf = 0.0F;
    for (std::size_t begin = first; begin < end; begin += kBlock) {
      const Range samples{begin, std::min(begin + kBlock, end)};
      const std::size_t size = samples.size() * vocabulary;
      const std::span<const float> z = logits.subspan(begin * vocabulary, size);
      const std::span<float> p = probabilities.subspan(begin * vocabulary, size);
      softmax_rows(z, samples.size(), vocab_grain, p, largest, log_sum);
      for (std::size_t r = 0; r < samples.size(); ++r) {
        const auto target = static_cast<std::size_t>(batch.targets[begin + r]);
        leaf = leaf + (log_sum[r] - (z[r * vocabulary + target] - largest[r]));
      }
      finish(samples, p);
    }
    loss_sum.next()[0] = leaf;
    loss_sum.push();
  }
}

}  // namespace

void softmax_cross_entropy_forward(const MicroBatch& batch, std::span<const float> logits,
                                   std::size_t vocab_grain, std::span<float> probabilities,
                                   PartialSum& loss_sum) {
  for_each_block_of_losses(batch, logits, vocab_grain, probabilities, loss_sum,
                           [](Range, std::span<float>) {});
}

void softmax_cross_entropy(const MicroBatch& batch, std::span<const float> logits,
                           std::size_t vocab_grain, float inverse_batch,
                           std::span<float> logit_gradient, PartialSum& loss_sum) {
  const auto to_gradient = [&](Range samples, std::span<float> p) {
    const std::size_t vocabulary = p.size() / samples.size();
    std::array<float, kBlock> of_targets{};
    for (std::size_t r = 0; r < samples.size(); ++r) {
      const auto target = static_cast<std::size_t>(batch.targets[samples.begin + r]);
      of_targets[r] = (p[r * vocabulary + target] - 1.0F) * inverse_batch;
    }
    scale(p, inverse_batch, p);  // p - 0 is p; only the targets differ
    for (std::size_t r = 0; r < samples.size(); ++r) {
      const auto target = static_cast<std::size_t>(batch.targets[samples.begin + r]);
      p[r * vocabulary + target] = of_targets[r];
    }
  };
  for_each_block_of_losses(batch, logits, vocab_grain, logit_gradient, loss_sum, to_gradient);
}

}  // namespace meshparity
