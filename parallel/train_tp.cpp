// Tensor parallel (Megatron-LM, arXiv:1909.08053): every rank works on all samples, with a part of
// each block's features. Linear blocks come in pairs, the first cut by columns, the second by rows:
//
//         X            W1 (columns)           W2 (rows)
//     replicated      | 0 | 1 | 2 |            | 0 |
//                     | 0 | 1 | 2 |            | 1 |       Y = relu(X W1 + b1) W2 + b2
//                     | 0 | 1 | 2 |            | 2 |
//
// forward    relu(X W1 + b1)   each rank has the features of its columns      (sharded)
//            times W2          each rank sums over its features alone         (partial)
//            all_reduce        the sum over all features, then + b2           (replicated)
// backward   dY W2^T           each rank has the features of its rows         (sharded)
//            times W1^T        each rank sums over its features alone         (partial)
//            all_reduce        the input gradient                             (replicated)
//
// A rank's features are a range of whole leaves of `feature_grain`, so the partial sums are nodes
// of the sum that one rank would form. Parts may be uneven or empty.
//
// The exchanges stand in the equations of the blocks, where they happen: `over_inputs_` and
// `over_outputs_` in model/linear.cpp. Here is what they are made of: tensor_parallel.cpp.

#include <vector>

#include "model/training.h"
#include "parallel/observe.h"
#include "parallel/strategy.h"
#include "parallel/tensor_parallel.h"

namespace meshparity {

void train_tp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  validate(how, recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);

  const BatchSource batches(recipe, run.corpus);
  const Range all_leaves = batches.all_leaves();
  const std::vector<Range> microbatches = batches.shares_of(all_leaves, how.microbatches);
  const std::size_t most_samples = batches.most_samples(microbatches);
  const std::size_t most_rows = most_samples * batches.positions();

  TensorParallelGroup tp(groups[Axis::tp], how.reduction);
  const Blocks blocks(run.model, {0, run.model.blocks.size()}, most_rows, tp);
  Head head(run.model.head, most_rows, tp);
  Parameters parameters(blocks, run.initial);  // sharded, or replicated where nothing is cut
  GradientSums gradients(blocks, parameters.shards(), batches, microbatches);
  PartialSum losses(all_leaves.end, all_leaves, 1);

  BoundaryGradients boundary_gradients(blocks, most_rows);
  Pass pass(blocks, batches, most_samples, boundary_gradients, run.observer.boundaries());
  Optimizer optimizer(recipe, parameters.shards(), all_values(parameters), run.start);
  std::vector<ShardView> shards = optimizer.with_state(parameters.views());
  count_copies_once(shards, blocks, groups.at);

  std::size_t step = run.start.step;
  for (; run.goes_on(step, shards); ++step) {
    gradients.start(all_leaves);
    losses.start(all_leaves);

    for (const Range microbatch : microbatches) {
      pass.load(Corpus::Split::training, step, batches.samples_of(microbatch));
      forward(blocks, parameters, pass);
      head.losses(pass.batch(), pass.output(), pass.output_gradient(), losses);
      backward(blocks, parameters, pass, gradients);
    }
    const float loss = losses.total()[0] * batches.inverse_targets(step);

    // Nothing to reduce: every rank saw every sample.
    for (std::size_t p = 0; p < shards.size(); ++p) shards[p].gradient = gradients.add_uses(p);
    const double norm = observe_step(run.observer, {.step = step, .loss = loss, .shards = shards},
                                     world, optimizer.needs_norm());
    optimizer.start_step(step, norm);
    optimizer.update(shards);
  }
  observe_end(run.observer, step, shards);
}

}  // namespace meshparity
