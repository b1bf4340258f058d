// One rank, no communication: what every other trainer must agree with, bit for bit.
//
//     tokens -> blocks, first to last -> logits -> losses
//     gradients of all parameters <- blocks, last to first <- gradient of the logits

#include "model/train_single.h"

#include <vector>

#include "model/training.h"

namespace meshparity {

void train_single(const TrainingRun& run) {
  const Recipe& recipe = run.recipe;
  const BatchSource batches(recipe, run.corpus);
  const Range all_samples{0, recipe.batch};
  const std::size_t rows = recipe.batch * batches.positions();
  const Range all_leaves = batches.all_leaves();

  AloneGroup alone;
  const Blocks blocks(run.model, {0, run.model.blocks.size()}, rows, alone);
  Head head(run.model.head, rows, alone);
  Parameters parameters(blocks, run.initial);
  GradientSums gradients(blocks, parameters.shards(), batches, {&all_leaves, 1});
  PartialSum losses(all_leaves.end, all_leaves, 1);
  BoundaryGradients boundary_gradients(blocks, rows);
  Pass pass(blocks, batches, recipe.batch, boundary_gradients, run.observer.boundaries());
  Optimizer optimizer(recipe, parameters.shards(), all_values(parameters), run.start);
  std::vector<ShardView> shards = optimizer.with_state(parameters.views());

  std::size_t step = run.start.step;
  for (; run.goes_on(step, shards); ++step) {
    gradients.start(all_leaves);
    losses.start(all_leaves);

    pass.load(Corpus::Split::training, step, all_samples);
    forward(blocks, parameters, pass);
    head.losses(pass.batch(), pass.output(), pass.output_gradient(), losses);
    backward(blocks, parameters, pass, gradients);

    // The one mean there is: over the global batch.
    const float loss = losses.total()[0] * batches.inverse_targets(step);
    for (std::size_t p = 0; p < shards.size(); ++p) shards[p].gradient = gradients.add_uses(p);
    const double norm = observe_step(run.observer, step, loss, shards, optimizer.needs_norm());
    optimizer.start_step(step, norm);
    optimizer.update(shards);
  }
  observe_end(run.observer, step, shards);
}

}  // namespace meshparity
