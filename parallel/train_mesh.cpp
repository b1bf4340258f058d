// The product of all four: data, fully sharded, tensor and pipeline parallel on one mesh.
//
//     pp     which layers are mine                    (train_pp)
//     tp     which features of them                   (train_tp)
//     fsdp   which elements of those parameters       (train_fsdp)
//     dp     which replica of all that I am           (train_dp)
//
//     batch leaves   |          dp 0           |          dp 1           |
//     microbatches   |     0      |     1      |     0      |     1      |
//     fsdp           |  0  |  1   |  0  |  1   |  0  |  1   |  0  |  1   |
//
// Each strategy splits one thing and leaves the others alone, so the product is their composition:
// a gradient is reduced over fsdp after each microbatch (nodes of the microbatch's run), streams
// into the replica's sum, and is finished over dp at the end of the step. A tensor-parallel rank
// does all this with its own block of the parameters.

#include <algorithm>
#include <vector>

#include "model/numerics/kernels.h"
#include "model/loss.h"
#include "model/model.h"
#include "parallel/reducer.h"
#include "parallel/sample_shares.h"
#include "parallel/train.h"
#include "parallel/train_fsdp.h"
#include "parallel/train_pp.h"
#include "parallel/train_tp.h"

namespace meshparity {

void train_mesh(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  const std::size_t vocabulary = run.corpus.vocabulary();
  validate(how, recipe, vocabulary);
  MeshGroups groups = lay_out(how.mesh, world);
  const MeshCoordinates at = groups.at;

  // Who adds up which leaves: replicas, then microbatches, then sharding ranks.
  const Range all_leaves = batch_leaves(recipe);
  const std::vector<Range> replica_leaves = shares_of(all_leaves, how.mesh.dp);
  const Range my_leaves = replica_leaves[at.dp];
  std::vector<std::vector<Range>> microbatch_leaves;  // [microbatch][fsdp index]
  std::size_t max_samples = 0;
  for (const Range microbatch : shares_of(my_leaves, how.microbatches)) {
    microbatch_leaves.push_back(shares_of(microbatch, how.mesh.fsdp));
    max_samples = std::max(max_samples, most_samples(recipe, microbatch_leaves.back()));
  }

  // Which layers, and in which order.
  const std::vector<LayerSpec> model = model_layers(recipe, vocabulary);
  const Range my_layers = share_of(model.size(), how.mesh.pp, at.pp);
  const std::vector<PipelineAction> schedule =
      schedule_of(how.schedule, at.pp, how.mesh.pp, how.microbatches);
  const Layers layers =
      make_tensor_parallel_layers(std::span(model).subspan(my_layers.begin, my_layers.size()),
                                  max_samples, *groups.tp, how.reduction);

  ShardedLayers sharded(layers, *groups.fsdp, how.reduction, all_leaves.end, microbatch_leaves,
                        my_leaves);
  sharded.owned().fill(run.initial);
  GradientSums& gradients = sharded.owned_gradients();  // first of this replica's part of the batch
  Reducer dp_reducer(*groups.dp, how.reduction, all_leaves.end);
  for (const auto& layer : gradients) {
    for (const PartialSum& sum : layer) dp_reducer.reserve(replica_leaves, sum.width());
  }
  PartialSum my_loss(all_leaves.end, all_leaves, 1);
  PartialSum loss_sum(all_leaves.end, my_leaves, 1);
  Reducer loss_reducer(*groups.fsdp, how.reduction, all_leaves.end);
  for (const auto& runs : microbatch_leaves) loss_reducer.reserve(runs, 1);
  dp_reducer.reserve(replica_leaves, 1);

  PipelineStage stage(recipe, run.corpus, layers, *groups.pp,
                      in_flight(how.schedule, at.pp, how.mesh.pp, how.microbatches), max_samples);
  std::vector<ShardView> shards = sharded.owned().views();
  for (ShardView& view : shards) {
    view.counted = at.dp == 0 && (view.shard->tensor_split || at.tp == 0);
  }
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);  // of the global batch

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    start(gradients, my_leaves);
    loss_sum.start(my_leaves);

    for (const PipelineAction action : schedule) {
      const std::size_t m = action.microbatch;
      const std::vector<Range>& shares = microbatch_leaves[m];
      const Range mine = samples_of(recipe, shares[at.fsdp]);
      const std::size_t samples = mine.size();

      if (action.kind == PipelineAction::Kind::forward) {
        PipelineSlot& slot = stage.start_forward(m, step, mine);
        for (std::size_t l = 0; l < layers.size(); ++l) {
          const ParameterValues parameters = sharded.gather(l);
          layers[l]->forward(slot.batch, parameters, slot.activations.value(l, samples),
                             slot.activations.value(l + 1, samples));
        }
        stage.send_output(m);
        if (stage.is_last()) {
          my_loss.start(shares[at.fsdp]);
          softmax_cross_entropy(slot.batch, slot.activations.value(layers.size(), samples),
                                recipe.vocab_grain, inverse_batch,
                                slot.activations.gradient(layers.size(), samples), my_loss);
          loss_reducer.all_reduce(my_loss, shares, loss_sum);
        }
      } else {
        PipelineSlot& slot = stage.start_backward(m);
        for (std::size_t l = layers.size(); l-- > 0;) {
          const ParameterValues parameters = sharded.gather(l);
          layers[l]->backward(
              slot.batch, parameters, slot.activations.value(l, samples),
              slot.activations.value(l + 1, samples), slot.activations.gradient(l + 1, samples),
              slot.activations.gradient(l, samples), sharded.start_gradients(l, shares[at.fsdp]));
          sharded.reduce_gradients(l, shares);
        }
        stage.send_input_gradient(m);
      }
    }
    stage.finish_step();

    // Replicas add up, in place: afterwards all of them hold the same bits.
    for (auto& layer : gradients) {
      for (PartialSum& sum : layer) dp_reducer.all_reduce(sum, replica_leaves, sum);
    }
    float loss = 0.0F;
    if (stage.is_last()) {
      dp_reducer.all_reduce(loss_sum, replica_leaves, loss_sum);
      loss = loss_sum.total()[0] * inverse_batch;
    }
    groups.pp->broadcast({&loss, 1}, how.mesh.pp - 1);

    attach_gradients(shards, gradients);
    report_step(run.observer, step, loss, shards, world);

    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        sgd_update(gradients[l][p].total(), recipe.lr, sharded.owned().values(l, p));
      }
    }
  }
  for (ShardView& shard : shards) shard.gradient = {};
  run.observer.finished(shards);
}

}  // namespace meshparity
