// The loss and its gradient, one element at a time.
#include "model/loss.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "model/numerics/kernels.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// Samples with random logits; more of them than are worked on together.
struct LossCase {
  std::size_t samples = *from_to(1, 150);
  std::size_t vocabulary = *from_to(1, 40);
  std::size_t vocab_grain = *from_to(1, 48);
  std::size_t batch_grain = *from_to(1, 160);
  float inverse_batch = 1.0F / static_cast<float>(samples + *from_to(0, 100));
  std::vector<float> logits = random::floats(samples * vocabulary, random::moderate_float());
  std::vector<Token> targets;
  std::size_t leaves = leaf_count(samples, batch_grain);
  PartialSum loss_sum{leaves, Range{0, leaves}, 1};

  LossCase() {
    for (std::size_t i = 0; i < samples; ++i) {
      targets.push_back(static_cast<Token>(*from_to(0, vocabulary - 1)));
    }
    RC_CLASSIFY(samples > 64 && batch_grain > 64, "several blocks in a leaf");
    RC_CLASSIFY(leaves > 1, "several leaves");
  }

  MicroBatch batch() const { return {samples, batch_grain, {}, targets}; }
};

RC_GTEST_PROP(Loss, TheGradientIsThatOfTheProbabilities, ()) {
  LossCase drawn;
  std::vector<float> probabilities(drawn.logits.size());
  softmax_cross_entropy_forward(drawn.batch(), drawn.logits, drawn.vocab_grain, probabilities,
                                drawn.loss_sum);
  const float loss = drawn.loss_sum.total()[0];

  drawn.loss_sum.start({0, drawn.leaves});
  std::vector<float> gradient(drawn.logits.size());
  softmax_cross_entropy(drawn.batch(), drawn.logits, drawn.vocab_grain, drawn.inverse_batch,
                        gradient, drawn.loss_sum);
  RC_ASSERT(same_float(drawn.loss_sum.total()[0], loss));
  for (std::size_t i = 0; i < drawn.samples; ++i) {
    for (std::size_t token = 0; token < drawn.vocabulary; ++token) {
      const std::size_t at = i * drawn.vocabulary + token;
      const float one = static_cast<std::size_t>(drawn.targets[i]) == token ? 1.0F : 0.0F;
      RC_ASSERT(same_float(gradient[at], (probabilities[at] - one) * drawn.inverse_batch));
    }
  }
}

RC_GTEST_PROP(Loss, EachLeafAddsTheLossesOfItsSamplesInOrder, ()) {
  LossCase drawn;
  std::vector<float> probabilities(drawn.logits.size());
  softmax_cross_entropy_forward(drawn.batch(), drawn.logits, drawn.vocab_grain, probabilities,
                                drawn.loss_sum);

  std::vector<float> largest(drawn.samples);
  std::vector<float> log_sum(drawn.samples);
  softmax_rows(drawn.logits, drawn.samples, drawn.vocab_grain, probabilities, largest, log_sum);
  PartialSum expected(drawn.leaves, Range{0, drawn.leaves}, 1);
  for (std::size_t leaf = 0; leaf < drawn.leaves; ++leaf) {
    const Range samples = terms_of({leaf, leaf + 1}, drawn.batch_grain, drawn.samples);
    float sum = 0.0F;
    for (std::size_t i = samples.begin; i < samples.end; ++i) {
      const auto target = static_cast<std::size_t>(drawn.targets[i]);
      sum = sum + (log_sum[i] - (drawn.logits[i * drawn.vocabulary + target] - largest[i]));
    }
    expected.next()[0] = sum;
    expected.push();
  }
  RC_ASSERT(same_float(drawn.loss_sum.total()[0], expected.total()[0]));
}

}  // namespace
}  // namespace meshparity
