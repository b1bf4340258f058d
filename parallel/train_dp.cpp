// Data parallel: every rank holds the whole model and works on its own samples.
//
//     batch leaves   | 0 1 2 | 3 4 5 | 6 7 |      (a leaf is `batch_grain` samples)
//     rank               0       1      2
//     microbatches   | 0 1|2 | 3 4|5 | 6|7 |      (each rank cuts its own range)
//
//     gradient       node sums of  +  node sums of  +  node sums of   = the sum of one rank
//                    leaves 0-2       leaves 3-5       leaves 6-7
//
// The gradient is a sum over samples, so each rank adds up its own leaves. A reduce_scatter
// finishes the tree: the owner of an element gets its whole sum, updates it, and an all_gather
// gives the new parameters to everyone (replicas.h).

#include <vector>

#include "model/training.h"
#include "parallel/observe.h"
#include "parallel/reducer.h"
#include "parallel/replicas.h"
#include "parallel/strategy.h"

namespace meshparity {

void train_dp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  validate(how, recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& dp = groups[Axis::dp];

  // Who adds up which leaves.
  const BatchSource batches(recipe, run.corpus);
  const Range all_leaves = batches.all_leaves();
  const std::vector<Range> rank_leaves = batches.shares_of(all_leaves, dp.size());
  const Range my_leaves = rank_leaves[dp.rank()];
  const std::vector<Range> microbatches = batches.shares_of(my_leaves, how.microbatches);
  const std::size_t most_samples = batches.most_samples(microbatches);
  const std::size_t most_rows = most_samples * batches.positions();

  AloneGroup alone;
  const Blocks blocks(run.model, {0, run.model.blocks.size()}, most_rows, alone);
  Head head(run.model.head, most_rows, alone);
  Parameters parameters(blocks, run.initial);  // replicated
  GradientSums gradients(blocks, parameters.shards(), batches, microbatches);
  Replicas replicas(blocks, parameters, gradients, rank_leaves, dp, how.reduction);
  PartialSum losses(all_leaves.end, my_leaves, 1);
  Reducer loss_reducer(dp, how.reduction, all_leaves.end);
  loss_reducer.reserve(rank_leaves, 1);

  BoundaryGradients boundary_gradients(blocks, most_rows);
  Pass pass(blocks, batches, most_samples, boundary_gradients, run.observer.boundaries());
  Optimizer optimizer(recipe, replicas.owned(), replicas.owned_values(), run.start);
  std::vector<ShardView> owned = optimizer.with_state(replicas.owned_views());
  const std::vector<ShardView> copies = replicas.copies();

  std::size_t step = run.start.step;
  for (; run.goes_on(step, owned, copies); ++step) {
    gradients.start(my_leaves);
    losses.start(my_leaves);

    // The microbatches follow each other through the leaves, so their gradients simply add up.
    for (const Range& microbatch : microbatches) {
      const bool is_last = &microbatch == &microbatches.back();
      pass.load(Corpus::Split::training, step, batches.samples_of(microbatch));
      forward(blocks, parameters, pass);
      head.losses(pass.batch(), pass.output(), pass.output_gradient(), losses);
      backward(blocks, parameters, pass, gradients, [&](std::size_t block) {
        // A finished gradient travels while the blocks before it are still at work.
        if (is_last) replicas.begin_reduce_scatter(block);
      });
    }

    // Partial sums of each rank -> the whole sum of the elements it owns.
    replicas.finish_reduce_scatter();
    loss_reducer.all_reduce(losses, rank_leaves, losses);
    const float loss = losses.total()[0] * batches.inverse_targets(step);
    for (std::size_t p = 0; p < owned.size(); ++p) {
      owned[p].gradient = gradients.add_uses(p, replicas.owned_part(p));
    }
    const double norm =
        observe_step(run.observer, {.step = step, .loss = loss, .shards = owned, .copies = copies},
                     world, optimizer.needs_norm());

    // The update is element by element, so an owner needs nobody else; then everyone gets it.
    optimizer.start_step(step, norm);
    for (std::size_t p = 0; p < owned.size(); ++p) {
      optimizer.update(p, owned[p].gradient);
      replicas.begin_all_gather(p);
    }
    replicas.finish_all_gather();
  }
  observe_end(run.observer, step, owned, copies);
}

}  // namespace meshparity
