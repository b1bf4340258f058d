// Pipeline parallel: each rank (a stage) holds a range of blocks, and microbatches pass through.
//
//     blocks   | embedding, hidden.0 | hidden.1 | output |
//     stage            0                 1          2
//
//     1f1b, 4 microbatches (digits: forward, letters: backward of 0 = a, 1 = b, ...), time ->
//     stage 0   0 1 2     a 3 b   c   d
//     stage 1     0 1   a 2 b 3 c   d
//     stage 2       0 a 1 b 2 c 3 d
//
// A microbatch is a range of whole leaves, and backwards come in the order of microbatches, so
// gradients stream into the same sums as on one rank. All stages then update; no weights change in
// between. A parameter that blocks of several stages use is held by each of them.

#include <vector>

#include "model/training.h"
#include "parallel/observe.h"
#include "parallel/pipeline_stage.h"
#include "parallel/strategy.h"

namespace meshparity {

void train_pp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  validate(how, recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& pp = groups[Axis::pp];

  const Range my_blocks = share_of(run.model.blocks.size(), pp.size(), pp.rank());
  const BatchSource batches(recipe, run.corpus);
  const Range all_leaves = batches.all_leaves();
  const std::vector<Range> microbatches = batches.shares_of(all_leaves, how.microbatches);
  const std::size_t most_samples = batches.most_samples(microbatches);

  AloneGroup alone;
  const Blocks blocks(run.model, my_blocks, most_samples * batches.positions(), alone);
  Head head(run.model.head, most_samples * batches.positions(), alone);
  Parameters parameters(blocks, run.initial);
  GradientSums gradients(blocks, parameters.shards(), batches, microbatches);
  PartialSum losses(all_leaves.end, all_leaves, 1);
  PipelineStage stage(blocks, batches, most_samples, run.observer.boundaries(), how.schedule,
                      how.microbatches, pp);
  TiedParameters tied(run.model, blocks, parameters.whole_parts(), pp);
  Optimizer optimizer(recipe, parameters.shards(), all_values(parameters), run.start);
  std::vector<ShardView> shards = optimizer.with_state(parameters.views());
  count_copies_once(shards, blocks, groups.at, &tied);

  std::size_t step = run.start.step;
  for (; run.goes_on(step, shards); ++step) {
    gradients.start(all_leaves);
    losses.start(all_leaves);

    for (const PipelineAction action : stage.schedule()) {
      const std::size_t m = action.microbatch;
      if (action.kind == PipelineAction::Kind::forward) {
        Pass& pass = stage.start_forward(m, step, batches.samples_of(microbatches[m]));
        forward(blocks, parameters, pass);
        stage.send_output(m);
      } else {
        Pass& pass = stage.start_backward(m);
        if (stage.is_last()) {
          head.losses(pass.batch(), pass.output(), pass.output_gradient(), losses);
        }
        backward(blocks, parameters, pass, gradients);
        stage.send_input_gradient(m);
      }
    }
    stage.finish_step();

    // Only the last stage knows the loss.
    float loss = stage.is_last() ? losses.total()[0] * batches.inverse_targets(step) : 0.0F;
    pp.broadcast({&loss, 1}, pp.size() - 1);

    tied.add_uses(gradients, shards);
    const double norm = observe_step(run.observer, {.step = step, .loss = loss, .shards = shards},
                                     world, optimizer.needs_norm());
    optimizer.start_step(step, norm);
    optimizer.update(shards);
  }
  observe_end(run.observer, step, shards);
}

}  // namespace meshparity
