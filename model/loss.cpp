#include "model/loss.h"

#include <algorithm>

#include "model/kernels.h"
#include "model/math.h"

namespace meshparity {

void softmax_cross_entropy_forward(const MicroBatch& batch, std::span<const float> logits,
                                   std::size_t vocab_grain, std::span<float> probabilities,
                                   PartialSum& loss_sum) {
  if (batch.samples == 0) return;
  const std::size_t vocabulary = logits.size() / batch.samples;
  for (std::size_t first = 0; first < batch.samples; first += batch.batch_grain) {
    const std::size_t end = std::min(first + batch.batch_grain, batch.samples);
    float leaf = 0.0F;
    for (std::size_t i = first; i < end; ++i) {
      const std::span<const float> z = logits.subspan(i * vocabulary, vocabulary);
      const std::span<float> p = probabilities.subspan(i * vocabulary, vocabulary);
      const float largest = *std::max_element(z.begin(), z.end());
      for (std::size_t j = 0; j < vocabulary; ++j) p[j] = portable_exp(z[j] - largest);
      const float sum = canonical_row_sum(p, vocab_grain);
      for (float& value : p) value = value / sum;
      const auto target = static_cast<std::size_t>(batch.targets[i]);
      leaf = leaf + (portable_log(sum) - (z[target] - largest));
    }
    loss_sum.next()[0] = leaf;
    loss_sum.push();
  }
}

void softmax_cross_entropy_backward(const MicroBatch& batch, std::span<const float> probabilities,
                                    float inverse_batch, std::span<float> logit_gradient) {
  if (batch.samples == 0) return;
  const std::size_t vocabulary = logit_gradient.size() / batch.samples;
  for (std::size_t i = 0; i < batch.samples; ++i) {
    const auto target = static_cast<std::size_t>(batch.targets[i]);
    for (std::size_t j = 0; j < vocabulary; ++j) {
      const std::size_t at = i * vocabulary + j;
      const float label = j == target ? 1.0F : 0.0F;
      logit_gradient[at] = (probabilities[at] - label) * inverse_batch;
    }
  }
}

}  // namespace meshparity
