// The loss and its gradient, one element at a time.
#include "model/head.h"

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
  float inverse_targets = 1.0F / static_cast<float>(samples + *from_to(0, 100));
  std::vector<float> logits = random::floats(samples * vocabulary, random::moderate_float());
  std::vector<Token> targets;
  std::size_t leaves = leaf_count(samples, batch_grain);
  PartialSum losses{leaves, Range{0, leaves}, 1};

  LossCase() {
    for (std::size_t i = 0; i < samples; ++i) {
      const bool absent = *from_to(0, 5) == 0;
      targets.push_back(absent ? kNoTarget : static_cast<Token>(*from_to(0, vocabulary - 1)));
    }
    RC_CLASSIFY(samples > 64 && batch_grain > 64, "several blocks in a leaf");
    RC_CLASSIFY(leaves > 1, "several leaves");
  }

  AloneGroup alone;
  Head head() { return Head({vocabulary, vocab_grain}, samples, alone); }
  MicroBatch batch() const {
    return {.slots = {0, samples},
            .leaves = {.samples = batch_grain},
            .targets = targets,
            .inverse_targets = inverse_targets};
  }
};

RC_GTEST_PROP(Head, TheGradientIsThatOfTheProbabilities, ()) {
  LossCase drawn;
  std::vector<float> probabilities(drawn.logits.size());
  drawn.head().evaluate(drawn.batch(), drawn.logits, probabilities, drawn.losses);
  const float loss = drawn.losses.total()[0];

  drawn.losses.start({0, drawn.leaves});
  std::vector<float> gradient(drawn.logits.size());
  drawn.head().losses(drawn.batch(), drawn.logits, gradient, drawn.losses);
  RC_ASSERT(same_float(drawn.losses.total()[0], loss));
  for (std::size_t i = 0; i < drawn.samples; ++i) {
    for (std::size_t token = 0; token < drawn.vocabulary; ++token) {
      const std::size_t at = i * drawn.vocabulary + token;
      const float one = drawn.targets[i] == static_cast<Token>(token) ? 1.0F : 0.0F;
      const float expected = (probabilities[at] - one) * drawn.inverse_targets;
      RC_ASSERT(same_float(gradient[at], drawn.targets[i] == kNoTarget ? 0.0F : expected));
    }
  }
}

RC_GTEST_PROP(Head, EachLeafAddsTheLossesOfItsSamplesInOrder, ()) {
  LossCase drawn;
  std::vector<float> probabilities(drawn.logits.size());
  drawn.head().evaluate(drawn.batch(), drawn.logits, probabilities, drawn.losses);

  std::vector<float> largest(drawn.samples);
  std::vector<float> log_sum(drawn.samples);
  softmax_rows(drawn.logits, drawn.samples, drawn.vocab_grain, probabilities, largest, log_sum);
  PartialSum expected(drawn.leaves, Range{0, drawn.leaves}, 1);
  for (std::size_t leaf = 0; leaf < drawn.leaves; ++leaf) {
    const Range samples = terms_of({leaf, leaf + 1}, drawn.batch_grain, drawn.samples);
    float sum = 0.0F;
    for (std::size_t i = samples.begin; i < samples.end; ++i) {
      if (drawn.targets[i] == kNoTarget) continue;
      const auto target = static_cast<std::size_t>(drawn.targets[i]);
      sum = sum + (log_sum[i] - (drawn.logits[i * drawn.vocabulary + target] - largest[i]));
    }
    expected.next()[0] = sum;
    expected.push();
  }
  RC_ASSERT(same_float(drawn.losses.total()[0], expected.total()[0]));
}

}  // namespace
}  // namespace meshparity
