// The product of all four: data, fully sharded, tensor and pipeline parallel on one mesh.
//
//     pp     which blocks are mine                    (train_pp)
//     tp     which features of them                   (train_tp)
//     fsdp   which elements of those parameters       (train_fsdp)
//     dp     which replica of all that I am           (train_dp)
//
//     batch leaves   |          dp 0           |          dp 1           |
//     microbatches   |     0      |     1      |     0      |     1      |
//     fsdp           |  0  |  1   |  0  |  1   |  0  |  1   |  0  |  1   |
//
// Each strategy splits one thing and leaves the others alone, so the product is their composition,
// made of the same pieces: a gradient is reduced over fsdp after each microbatch (nodes of the
// microbatch's range), streams into the replica's sum, and is finished over dp at the end of the
// step, by the owner of each element, who updates it and gives it to the other replicas. A
// tensor-parallel rank does all this with its own part of the parameters.

#include <algorithm>
#include <vector>

#include "model/training.h"
#include "parallel/observe.h"
#include "parallel/pipeline_stage.h"
#include "parallel/reducer.h"
#include "parallel/replicas.h"
#include "parallel/sharded_blocks.h"
#include "parallel/strategy.h"
#include "parallel/tensor_parallel.h"

namespace meshparity {
namespace {

/// Who adds up which leaves: replicas, then microbatches, then sharding ranks.
struct LeafShares {
  LeafShares(const BatchSource& batches, const Parallelism& how, const MeshCoordinates& at)
      : all(batches.all_leaves()),
        replicas(batches.shares_of(all, how.mesh[Axis::dp])),
        mine(replicas[at[Axis::dp]]) {
    for (const Range microbatch : batches.shares_of(mine, how.microbatches)) {
      microbatches.push_back(batches.shares_of(microbatch, how.mesh[Axis::fsdp]));
      most_samples = std::max(most_samples, batches.most_samples(microbatches.back()));
    }
  }

  Range all;
  std::vector<Range> replicas;                   // [dp index]
  Range mine;                                    // this replica's
  std::vector<std::vector<Range>> microbatches;  // of mine: [microbatch][fsdp index]
  std::size_t most_samples = 0;
};

/// The losses of a microbatch are added up over fsdp, those of a replica over dp.
class MeshLosses {
 public:
  MeshLosses(const LeafShares& shares, MeshGroups& groups, Reduction reduction)
      : shares_(shares),
        of_microbatch_(shares.all.end, shares.all, 1),
        losses_(shares.all.end, shares.mine, 1),
        fsdp_(groups[Axis::fsdp], reduction, shares.all.end),
        dp_(groups[Axis::dp], reduction, shares.all.end) {
    for (const auto& leaves : shares.microbatches) fsdp_.reserve(leaves, 1);
    dp_.reserve(shares.replicas, 1);
  }

  void start() { losses_.start(shares_.mine); }
  PartialSum& start_microbatch(Range leaves) {
    of_microbatch_.start(leaves);
    return of_microbatch_;
  }
  void reduce_microbatch(std::size_t microbatch) {
    fsdp_.all_reduce(of_microbatch_, shares_.microbatches[microbatch], losses_);
  }
  float reduce() {
    dp_.all_reduce(losses_, shares_.replicas, losses_);
    return losses_.total()[0];
  }

 private:
  const LeafShares& shares_;
  PartialSum of_microbatch_;
  PartialSum losses_;
  Reducer fsdp_;
  Reducer dp_;
};

}  // namespace

void train_mesh(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  validate(how, recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);
  const MeshCoordinates at = groups.at;
  const std::size_t stages = how.mesh[Axis::pp];
  const BatchSource batches(recipe, run.corpus);
  const LeafShares shares(batches, how, at);

  // Which blocks, with which features, elements and copies of them.
  const Range my_blocks = share_of(run.model.blocks.size(), stages, at[Axis::pp]);
  TensorParallelGroup tp(groups[Axis::tp], how.reduction);
  const Blocks blocks(run.model, my_blocks, shares.most_samples * batches.positions(), tp);
  ShardedBlocks sharded(blocks, run.initial, batches, shares.microbatches, groups[Axis::fsdp],
                        how.reduction);
  GradientSums& gradients = sharded.owned_gradients();
  Replicas replicas(blocks, sharded.owned(), gradients, shares.replicas, groups[Axis::dp],
                    how.reduction);
  PipelineStage stage(blocks, batches, shares.most_samples, run.observer.boundaries(), how.schedule,
                      how.microbatches, groups[Axis::pp]);
  TiedParameters tied(run.model, blocks, replicas.owned_parts(), groups[Axis::pp]);
  Head head(run.model.head, shares.most_samples * batches.positions(), tp);
  MeshLosses losses(shares, groups, how.reduction);
  Optimizer optimizer(recipe, replicas.owned(), replicas.owned_values());
  std::vector<ShardView> owned = replicas.owned_views();
  optimizer.show_state(owned);
  const std::vector<ShardView> copies = replicas.copies();
  count_copies_once(owned, blocks, at, &tied);
  const auto values_forward = [&](std::size_t b) {
    const ParameterValues values = sharded.finish_gather(b);
    if (b + 1 < blocks.size()) sharded.begin_gather(b + 1);
    return values;
  };
  const auto values_backward = [&](std::size_t b) {
    const ParameterValues values = sharded.finish_gather(b);
    if (b > 0) sharded.begin_gather(b - 1);
    return values;
  };

  for (std::size_t step = 0; step < run.steps(); ++step) {
    gradients.start(shares.mine);
    losses.start();
    for (const PipelineAction action : stage.schedule()) {
      const std::size_t m = action.microbatch;
      const std::vector<Range>& leaves = shares.microbatches[m];
      const Range my_leaves = leaves[at[Axis::fsdp]];
      if (action.kind == PipelineAction::Kind::forward) {
        sharded.begin_gather(0);
        forward(blocks, values_forward,
                stage.start_forward(m, step, batches.samples_of(my_leaves)));
        stage.send_output(m);
        continue;
      }
      sharded.begin_gather(blocks.size() - 1);
      Pass& pass = stage.start_backward(m);
      if (stage.is_last()) {
        head.losses(pass.batch(), pass.output(), pass.output_gradient(),
                    losses.start_microbatch(my_leaves));
        losses.reduce_microbatch(m);
      }
      const auto start = [&](std::size_t b) { return sharded.start_gradients(b, my_leaves); };
      const auto finish = [&](std::size_t b) {
        sharded.finish_reduce_scatter(b);
        if (m + 1 == how.microbatches) replicas.begin_reduce_scatter(b);
      };
      backward(blocks, values_backward, pass, start, [&](std::size_t b) {
        if (b + 1 < blocks.size()) finish(b + 1);
        sharded.begin_reduce_scatter(b, leaves);
      });
      finish(0);
      stage.send_input_gradient(m);
    }
    stage.finish_step();
    replicas.finish_reduce_scatter();
    float loss = stage.is_last() ? losses.reduce() * batches.inverse_targets(step) : 0.0F;
    groups[Axis::pp].broadcast({&loss, 1}, stages - 1);
    tied.add_uses(gradients, owned);
    const double norm =
        observe_step(run.observer, {.step = step, .loss = loss, .shards = owned, .copies = copies},
                     world, optimizer.needs_norm());
    optimizer.start_step(step, norm);
    for (std::size_t p = 0; p < owned.size(); ++p) {
      optimizer.update(p, owned[p].gradient);
      replicas.begin_all_gather(p);
    }
    replicas.finish_all_gather();
  }
  observe_end(run.observer, run.steps(), owned, copies);
}

}  // namespace meshparity
