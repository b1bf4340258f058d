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
      samples.push_back(batches.samples_of(microbatches.back()[at[Axis::fsdp]]));
      most_samples = std::max(most_samples, batches.most_samples(microbatches.back()));
    }
    most_rows = most_samples * batches.positions();
  }

  Range all;
  std::vector<Range> replicas;                   // [dp index]
  Range mine;                                    // this replica's
  std::vector<std::vector<Range>> microbatches;  // of mine: [microbatch][fsdp index]
  std::vector<Range> samples;                    // of each microbatch, this rank's
  std::size_t most_samples = 0;
  std::size_t most_rows = 0;
};

/// The losses of a microbatch are added up over fsdp, those of a replica over dp.
class MeshLosses {
 public:
  MeshLosses(const HeadSpec& head, const LeafShares& shares, FeatureGroup& tp, MeshGroups& groups,
             Reduction reduction)
      : head_(head, shares.most_rows, tp),
        shares_(shares),
        of_microbatch_(shares.all.end, shares.all, 1),
        losses_(shares.all.end, shares.mine, 1),
        fsdp_(groups[Axis::fsdp], reduction, shares.all.end),
        dp_(groups[Axis::dp], reduction, shares.all.end),
        fsdp_rank_(groups.at[Axis::fsdp]),
        pp_(groups[Axis::pp]) {
    for (const auto& leaves : shares.microbatches) fsdp_.reserve(leaves, 1);
    dp_.reserve(shares.replicas, 1);
  }

  void start() { losses_.start(shares_.mine); }
  /// Those of a microbatch, and the gradient of what the last stage gives.
  void add(Pass& pass, std::size_t microbatch) {
    of_microbatch_.start(shares_.microbatches[microbatch][fsdp_rank_]);
    head_.losses(pass.batch(), pass.output(), pass.output_gradient(), of_microbatch_);
    fsdp_.all_reduce(of_microbatch_, shares_.microbatches[microbatch], losses_);
  }
  /// Collective over the pipeline, whose last stage has added them: their sum on every rank.
  float reduce() {
    float sum = 0.0F;
    if (pp_.rank() + 1 == pp_.size()) {
      dp_.all_reduce(losses_, shares_.replicas, losses_);
      sum = losses_.total()[0];
    }
    pp_.broadcast({&sum, 1}, pp_.size() - 1);
    return sum;
  }

 private:
  Head head_;
  const LeafShares& shares_;
  PartialSum of_microbatch_;
  PartialSum losses_;
  Reducer fsdp_;
  Reducer dp_;
  std::size_t fsdp_rank_;
  Comm& pp_;
};

}  // namespace

void train_mesh(const TrainingRun& run, const Parallelism& how, Comm& world) {
  validate(how, run.recipe, run.model);
  MeshGroups groups = lay_out(how.mesh, world);
  const MeshCoordinates at = groups.at;
  const BatchSource batches(run.recipe, run.corpus);
  const LeafShares shares(batches, how, at);

  // Which blocks, with which features, elements and copies of them.
  const Range my_blocks = share_of(run.model.blocks.size(), how.mesh[Axis::pp], at[Axis::pp]);
  TensorParallelGroup tp(groups[Axis::tp], how.reduction);
  const Blocks blocks(run.model, my_blocks, shares.most_rows, tp);
  ShardedBlocks sharded(blocks, run.initial, batches, shares.microbatches, groups[Axis::fsdp],
                        how.reduction);
  GradientSums& gradients = sharded.owned_gradients();
  Replicas replicas(blocks, sharded.owned(), gradients, shares.replicas, groups[Axis::dp],
                    how.reduction);
  PipelineStage stage(blocks, batches, shares.most_samples, run.observer.boundaries(), how.schedule,
                      how.microbatches, groups[Axis::pp]);
  TiedParameters tied(run.model, blocks, replicas.owned_parts(), groups[Axis::pp]);
  MeshLosses losses(run.model.head, shares, tp, groups, how.reduction);
  Optimizer optimizer(run.recipe, replicas.owned(), replicas.owned_values(), run.start);
  std::vector<ShardView> owned = optimizer.with_state(replicas.owned_views());
  const std::vector<ShardView> copies = replicas.copies();
  count_copies_once(owned, blocks, at, &tied);
  const auto values_forward = [&](std::size_t b) { return sharded.finish_gather(b, b + 1); };
  const auto values_backward = [&](std::size_t b) { return sharded.finish_gather(b, b - 1); };

  std::size_t step = run.start.step;
  for (; run.goes_on(step, owned, copies); ++step) {
    gradients.start(shares.mine);
    losses.start();
    for (const PipelineAction action : stage.schedule()) {
      const std::size_t m = action.microbatch;
      const std::vector<Range>& leaves = shares.microbatches[m];
      if (action.kind == PipelineAction::Kind::forward) {
        sharded.begin_gather(0);
        forward(blocks, values_forward, stage.start_forward(m, step, shares.samples[m]));
        stage.send_output(m);
        continue;
      }
      sharded.begin_gather(blocks.size() - 1);
      Pass& pass = stage.start_backward(m);
      if (stage.is_last()) losses.add(pass, m);
      const auto finish = [&](std::size_t b) {
        sharded.finish_reduce_scatter(b);
        if (m + 1 == how.microbatches) replicas.begin_reduce_scatter(b);
      };
      const auto start = [&](std::size_t b) { return sharded.start_gradients(b, leaves); };
      backward(blocks, values_backward, pass, start, [&](std::size_t b) {
        if (b + 1 < blocks.size()) finish(b + 1);  // it was on its way while block b computed
        sharded.begin_reduce_scatter(b, leaves);
      });
      finish(0);
      stage.send_input_gradient(m);
    }
    stage.finish_step();
    replicas.finish_reduce_scatter();
    const float loss = losses.reduce() * batches.inverse_targets(step);
    tied.add_uses(gradients, owned);
    const StepView view{.step = step, .loss = loss, .shards = owned, .copies = copies};
    optimizer.start_step(step, observe_step(run.observer, view, world, optimizer.needs_norm()));
    for (std::size_t p = 0; p < owned.size(); ++p) {
      optimizer.update(p, owned[p].gradient);
      replicas.begin_all_gather(p);
    }
    replicas.finish_all_gather();
  }
  observe_end(run.observer, step, owned, copies);
}

}  // namespace meshparity
