#include "model/loss.h"

#include <algorithm>
#include <array>

#include "model/kernels.h"

namespace meshparity {

void softmax_cross_entropy_forward(const MicroBatch& batch, std::span<const float> logits,
                                   std::size_t vocab_grain, std::span<float> probabilities,
                                   PartialSum& loss_sum) {
  if (batch.samples == 0) return;
  constexpr std::size_t kBlock = 64;  // rows at a time
  std::array<float, kBlock> largest{};
  std::array<float, kBlock> log_sum{};
  const std::size_t vocabulary = logits.size() / batch.samples;
  for (std::size_t first = 0; first < batch.samples; first += batch.batch_grain) {
    const std::size_t end = std::min(first + batch.batch_grain, batch.samples);
    float leaf = 0.0F;
    for (std::size_t block = first; block < end; block += kBlock) {
      const std::size_t rows = std::min(kBlock, end - block);
      const std::span<const float> z = logits.subspan(block * vocabulary, rows * vocabulary);
      softmax_rows(z, rows, vocab_grain, probabilities.subspan(block * vocabulary, z.size()),
                   largest, log_sum);
      for (std::size_t r = 0; r < rows; ++r) {
        const auto target = static_cast<std::size_t>(batch.targets[block + r]);
        leaf = leaf + (log_sum[r] - (z[r * vocabulary + target] - largest[r]));
      }
    }
    loss_sum.next()[0] = leaf;
    loss_sum.push();
  }
}

void softmax_cross_entropy_backward(const MicroBatch& batch, std::span<const float> probabilities,
                                    float inverse_batch, std::span<float> logit_gradient) {
  if (batch.samples == 0) return;
  const std::size_t vocabulary = logit_gradient.size() / batch.samples;
  // p - 0 is p; only the targets differ.
  scale(probabilities.first(logit_gradient.size()), inverse_batch, logit_gradient);
  for (std::size_t i = 0; i < batch.samples; ++i) {
    const std::size_t at = i * vocabulary + static_cast<std::size_t>(batch.targets[i]);
    logit_gradient[at] = (probabilities[at] - 1.0F) * inverse_batch;
  }
}

}  // namespace meshparity
