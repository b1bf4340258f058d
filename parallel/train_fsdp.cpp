// Fully sharded data parallel (ZeRO-3): samples and parameters are both shared out.
//
//     parameter elements   | 0 1 2 3 | 4 5 6 7 | 8 9 10 |    every parameter, biases too
//     owner                    0         1         2
//
//     batch leaves         |  microbatch 0   |  microbatch 1  |
//     rank                 |  0  |  1  |  2  |  0  |  1  | 2  |
//
// A block's parameters are gathered while another one computes, forward and backward, and dropped
// after their own. Its gradient is reduced while the next one computes: an element's owner gets
// everybody's nodes for it. Since each microbatch is a range of leaves that all ranks share, the
// owner can merge microbatch after microbatch, and no rank ever holds a whole model's gradient.

#include <algorithm>
#include <vector>

#include "model/training.h"
#include "parallel/observe.h"
#include "parallel/reducer.h"
#include "parallel/sharded_blocks.h"
#include "parallel/strategy.h"

namespace meshparity {

void train_fsdp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  validate(how, recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& fsdp = groups[Axis::fsdp];

  // Who adds up which leaves: first microbatches, then ranks.
  const BatchSource batches(recipe, run.corpus);
  const Range all_leaves = batches.all_leaves();
  std::vector<std::vector<Range>> microbatches;  // [microbatch][rank]
  std::size_t most_samples = 0;
  for (const Range microbatch : batches.shares_of(all_leaves, how.microbatches)) {
    microbatches.push_back(batches.shares_of(microbatch, fsdp.size()));
    most_samples = std::max(most_samples, batches.most_samples(microbatches.back()));
  }
  const std::size_t most_rows = most_samples * batches.positions();

  AloneGroup alone;
  const Blocks blocks(run.model, {0, run.model.blocks.size()}, most_rows, alone);
  Head head(run.model.head, most_rows, alone);
  ShardedBlocks sharded(blocks, run.initial, batches, microbatches, fsdp, how.reduction);
  GradientSums& gradients = sharded.owned_gradients();  // sharded
  PartialSum my_losses(all_leaves.end, all_leaves, 1);
  PartialSum losses(all_leaves.end, all_leaves, 1);
  Reducer loss_reducer(fsdp, how.reduction, all_leaves.end);
  for (const auto& rank_leaves : microbatches) loss_reducer.reserve(rank_leaves, 1);

  BoundaryGradients boundary_gradients(blocks, most_rows);
  Pass pass(blocks, batches, most_samples, boundary_gradients, run.observer.boundaries());
  Optimizer optimizer(recipe, sharded.owned().shards(), all_values(sharded.owned()), run.start);
  std::vector<ShardView> owned = optimizer.with_state(sharded.owned().views());
  // Block b's parameters, while the next ones begin to travel.
  const auto values_forward = [&](std::size_t b) { return sharded.finish_gather(b, b + 1); };
  const auto values_backward = [&](std::size_t b) { return sharded.finish_gather(b, b - 1); };

  std::size_t step = run.start.step;
  for (; run.goes_on(step, owned); ++step) {
    gradients.start(all_leaves);
    losses.start(all_leaves);

    for (const std::vector<Range>& rank_leaves : microbatches) {
      const Range my_leaves = rank_leaves[fsdp.rank()];
      pass.load(Corpus::Split::training, step, batches.samples_of(my_leaves));
      sharded.begin_gather(0);
      forward(blocks, values_forward, pass);
      sharded.begin_gather(blocks.size() - 1);
      my_losses.start(my_leaves);
      head.losses(pass.batch(), pass.output(), pass.output_gradient(), my_losses);
      loss_reducer.all_reduce(my_losses, rank_leaves, losses);
      const auto start = [&](std::size_t b) { return sharded.start_gradients(b, rank_leaves); };
      backward(blocks, values_backward, pass, start, [&](std::size_t b) {
        // The gradient of the block behind was on its way while this one computed.
        if (b + 1 < blocks.size()) sharded.finish_reduce_scatter(b + 1);
        sharded.begin_reduce_scatter(b, rank_leaves);
      });
      sharded.finish_reduce_scatter(0);
    }
    const float loss = losses.total()[0] * batches.inverse_targets(step);

    for (std::size_t p = 0; p < owned.size(); ++p) owned[p].gradient = gradients.add_uses(p);
    const double norm = observe_step(run.observer, {.step = step, .loss = loss, .shards = owned},
                                     world, optimizer.needs_norm());

    // The update is element by element, so an owner needs nobody else.
    optimizer.start_step(step, norm);
    optimizer.update(owned);
  }
  observe_end(run.observer, step, owned);
}

}  // namespace meshparity
