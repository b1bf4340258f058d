#include "model/train_single.h"

#include <vector>

#include "model/numerics/kernels.h"
#include "model/loss.h"
#include "model/model.h"
#include "model/working_memory.h"

namespace meshparity {

void train_single(const TrainingRun& run) {
  const Recipe& recipe = run.recipe;
  const Corpus& corpus = run.corpus;
  const std::size_t vocabulary = corpus.vocabulary();
  const std::size_t samples = recipe.batch;
  const Range all_leaves{0, leaf_count(samples, recipe.batch_grain)};

  const Layers layers = make_layers(model_layers(recipe, vocabulary));
  Parameters parameters(layers);
  parameters.fill(run.initial);
  GradientSums gradients = make_gradient_sums(layers, all_leaves.end, {&all_leaves, 1});
  PartialSum loss_sum(all_leaves.end, all_leaves, 1);
  Activations activations(layers, samples);
  BatchBuffer batch_buffer(recipe, corpus, samples);
  std::vector<ShardView> shards = parameters.views();
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    const MicroBatch batch = batch_buffer.draw(Corpus::Split::training, step, {0, samples});
    start(gradients, all_leaves);
    loss_sum.start(all_leaves);

    // Forward: each layer reads the boundary before it and writes the one after it.
    for (std::size_t l = 0; l < layers.size(); ++l) {
      layers[l]->forward(batch, parameters.layer(l), activations.value(l, samples),
                         activations.value(l + 1, samples));
    }
    const std::span<const float> logits = activations.value(layers.size(), samples);
    softmax_cross_entropy(batch, logits, recipe.vocab_grain, inverse_batch,
                          activations.gradient(layers.size(), samples), loss_sum);

    // Backward: the same boundaries, last layer first.
    for (std::size_t l = layers.size(); l-- > 0;) {
      layers[l]->backward(batch, parameters.layer(l), activations.value(l, samples),
                          activations.value(l + 1, samples), activations.gradient(l + 1, samples),
                          activations.gradient(l, samples), gradients[l]);
    }

    // The one mean there is: over the global batch.
    const float loss = loss_sum.total()[0] * inverse_batch;
    attach_gradients(shards, gradients);
    report_step(run.observer, step, loss, shards);

    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        sgd_update(gradients[l][p].total(), recipe.lr, parameters.values(l, p));
      }
    }
  }
  run.observer.finished(parameters.views());
}

}  // namespace meshparity
