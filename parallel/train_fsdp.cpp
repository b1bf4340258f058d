// Fully sharded data parallel (ZeRO-3): samples and parameters are both shared out.
//
//     parameter elements   | 0 1 2 3 | 4 5 6 7 | 8 9 10 |    every parameter, biases too
//     owner                    0         1         2
//
//     batch leaves         |  microbatch 0   |  microbatch 1  |
//     rank                 |  0  |  1  |  2  |  0  |  1  | 2  |
//
// A layer's parameters are gathered just before the layer computes, forward and backward, and
// dropped after it. Its gradient is reduced as soon as its backward is done: the owner of an
// element gets everybody's nodes for it. Since each microbatch is a run of leaves that all ranks
// share, the owner can merge microbatch after microbatch, and no rank ever holds a whole model's
// gradient.

#include "parallel/train_fsdp.h"

#include <algorithm>
#include <utility>

#include "model/numerics/kernels.h"
#include "model/loss.h"
#include "model/model.h"
#include "parallel/element_shares.h"
#include "parallel/sample_shares.h"
#include "parallel/train.h"

namespace meshparity {
ShardedLayers::ShardedLayers(const Layers& layers, Comm& group, Reduction reduction,
                             std::size_t leaves,
                             const std::vector<std::vector<Range>>& runs_of_reductions, Range owned_run)
    : group_(group),
      whole_(shards_of(layers)),
      owned_(own_shares(whole_, group)),
      reducer_(group, reduction, leaves) {
  std::vector<Range> my_runs;
  for (const auto& runs : runs_of_reductions) my_runs.push_back(runs[group.rank()]);

  std::size_t largest_layer = 0;
  std::vector<std::size_t> largest_parameter;  // at each position in a layer
  for (const auto& layer : whole_) {
    auto& counts = counts_.emplace_back();
    auto& gradients = owned_gradients_.emplace_back();
    std::size_t layer_size = 0;
    for (std::size_t p = 0; p < layer.size(); ++p) {
      const std::size_t size = layer[p].size();
      auto& of_ranks = counts.emplace_back();
      for (const Range share : shares_of({0, size}, group.size())) of_ranks.push_back(share.size());
      gradients.emplace_back(leaves, owned_run, of_ranks[group.rank()]);
      for (const auto& runs : runs_of_reductions) reducer_.reserve(runs, size);
      layer_size += size;
      if (p == largest_parameter.size()) largest_parameter.push_back(0);
      largest_parameter[p] = std::max(largest_parameter[p], size);
    }
    largest_layer = std::max(largest_layer, layer_size);
  }
  for (const std::size_t size : largest_parameter)
    whole_gradients_.emplace_back(leaves, my_runs, size);

  gathered_.resize(largest_layer);
  for (const auto& layer : whole_) {
    auto& parts = gathered_parts_.emplace_back();
    std::span<float> rest = gathered_;
    for (const Shard& shard : layer) {
      parts.push_back(rest.first(shard.size()));
      rest = rest.subspan(shard.size());
    }
    gathered_views_.emplace_back(parts.begin(), parts.end());
  }
}

ParameterValues ShardedLayers::gather(std::size_t layer, CallSite site) {
  if (group_.size() == 1) return owned_.layer(layer);  // all of it, and nothing to copy
  for (std::size_t p = 0; p < whole_[layer].size(); ++p) {
    group_.all_gather(owned_.values(layer, p), gathered_parts_[layer][p], counts_[layer][p], site);
  }
  return gathered_views_[layer];
}

std::span<PartialSum> ShardedLayers::start_gradients(std::size_t layer, Range run) {
  for (std::size_t p = 0; p < whole_[layer].size(); ++p) {
    whole_gradients_[p].start(run, whole_[layer][p].size());
  }
  return std::span(whole_gradients_).first(whole_[layer].size());
}

void ShardedLayers::reduce_gradients(std::size_t layer, std::span<const Range> runs, CallSite site) {
  for (std::size_t p = 0; p < whole_[layer].size(); ++p) {
    reducer_.reduce_scatter(whole_gradients_[p], runs, owned_gradients_[layer][p], site);
  }
}

void train_fsdp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  const std::size_t vocabulary = run.corpus.vocabulary();
  validate(how, recipe, vocabulary);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& fsdp = *groups.fsdp;

  // Who adds up which leaves: first microbatches, then ranks.
  const Range all_leaves = batch_leaves(recipe);
  std::vector<std::vector<Range>> microbatch_leaves;  // [microbatch][rank]
  std::size_t max_samples = 0;
  for (const Range microbatch : shares_of(all_leaves, how.microbatches)) {
    microbatch_leaves.push_back(shares_of(microbatch, fsdp.size()));
    max_samples = std::max(max_samples, most_samples(recipe, microbatch_leaves.back()));
  }

  const Layers layers = make_layers(model_layers(recipe, vocabulary));
  ShardedLayers sharded(layers, fsdp, how.reduction, all_leaves.end, microbatch_leaves, all_leaves);
  sharded.owned().fill(run.initial);
  GradientSums& gradients = sharded.owned_gradients();  // sharded
  PartialSum my_loss(all_leaves.end, all_leaves, 1);
  PartialSum loss_sum(all_leaves.end, all_leaves, 1);
  Reducer loss_reducer(fsdp, how.reduction, all_leaves.end);
  for (const auto& runs : microbatch_leaves) loss_reducer.reserve(runs, 1);

  Activations activations(layers, max_samples);
  BatchBuffer batch_buffer(recipe, run.corpus, max_samples);
  std::vector<ShardView> shards = sharded.owned().views();
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);  // of the global batch

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    start(gradients, all_leaves);
    loss_sum.start(all_leaves);

    for (const std::vector<Range>& rank_leaves : microbatch_leaves) {
      const Range my_leaves = rank_leaves[fsdp.rank()];
      const Range mine = samples_of(recipe, my_leaves);
      const std::size_t samples = mine.size();
      const MicroBatch batch = batch_buffer.draw(Corpus::Split::training, step, mine);

      for (std::size_t l = 0; l < layers.size(); ++l) {
        const ParameterValues parameters = sharded.gather(l);
        layers[l]->forward(batch, parameters, activations.value(l, samples),
                           activations.value(l + 1, samples));
      }
      my_loss.start(my_leaves);
      softmax_cross_entropy(batch, activations.value(layers.size(), samples), recipe.vocab_grain,
                            inverse_batch, activations.gradient(layers.size(), samples), my_loss);
      loss_reducer.all_reduce(my_loss, rank_leaves, loss_sum);

      for (std::size_t l = layers.size(); l-- > 0;) {
        const ParameterValues parameters = sharded.gather(l);
        layers[l]->backward(batch, parameters, activations.value(l, samples),
                            activations.value(l + 1, samples), activations.gradient(l + 1, samples),
                            activations.gradient(l, samples),
                            sharded.start_gradients(l, my_leaves));
        sharded.reduce_gradients(l, rank_leaves);
      }
    }
    const float loss = loss_sum.total()[0] * inverse_batch;

    attach_gradients(shards, gradients);
    report_step(run.observer, step, loss, shards, world);

    // The update is element by element, so an owner needs nobody else.
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
