// Data parallel: every rank holds the whole model and works on its own samples.
//
//     batch leaves   | 0 1 2 | 3 4 5 | 6 7 |      (a leaf is `batch_grain` samples)
//     rank               0       1      2
//     microbatches   | 0 1|2 | 3 4|5 | 6|7 |      (each rank cuts its own run)
//
//     gradient       node sums of  +  node sums of  +  node sums of   = the sum of one rank
//                    leaves 0-2       leaves 3-5       leaves 6-7
//
// The gradient is a sum over samples, so each rank adds up its own leaves, and one all_reduce per
// parameter would finish the tree and leave everybody with the same bits, to take the same update.
// An all_reduce is a reduce_scatter and an all_gather. The update is made between the two, by the
// owner of each element, once instead of once per rank; what is gathered are the new parameters
// (weight-update sharding, arXiv:2004.13336).
//
//     parameter elements   | 0 1 2 3 | 4 5 6 7 | 8 9 10 |
//     updated by rank          0         1         2

#include <vector>

#include "model/numerics/kernels.h"
#include "model/loss.h"
#include "model/model.h"
#include "model/working_memory.h"
#include "parallel/reducer.h"
#include "parallel/element_shares.h"
#include "parallel/sample_shares.h"
#include "parallel/train.h"

namespace meshparity {
namespace {

/// The elements of a whole parameter, or of its gradient, that a rank owns.
std::span<float> part_of(std::span<float> whole, const Shard& owned) {
  return whole.subspan(owned.flat.begin, owned.size());
}

/// For observers: first what this rank owns, then all of its copies, which nobody counts.
std::vector<ShardView> views_of(Parameters& parameters,
                                const std::vector<std::vector<Shard>>& owned) {
  std::vector<ShardView> views;
  for (std::size_t l = 0; l < owned.size(); ++l) {
    for (std::size_t p = 0; p < owned[l].size(); ++p) {
      views.push_back({&owned[l][p], true, part_of(parameters.values(l, p), owned[l][p]), {}});
    }
  }
  for (ShardView copy : parameters.views()) {
    copy.counted = false;
    views.push_back(copy);
  }
  return views;
}

}  // namespace

void train_dp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  const std::size_t vocabulary = run.corpus.vocabulary();
  validate(how, recipe, vocabulary);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& dp = *groups.dp;

  // Who adds up which leaves.
  const Range all_leaves = batch_leaves(recipe);
  const std::vector<Range> rank_leaves = shares_of(all_leaves, dp.size());
  const Range my_leaves = rank_leaves[dp.rank()];
  const std::vector<Range> microbatches = shares_of(my_leaves, how.microbatches);
  const std::size_t max_samples = most_samples(recipe, microbatches);

  const Layers layers = make_layers(model_layers(recipe, vocabulary));
  Parameters parameters(layers);  // replicated
  parameters.fill(run.initial);
  const std::vector<std::vector<Shard>> owned = own_shares(shards_of(layers), dp);
  GradientSums gradients = make_gradient_sums(layers, all_leaves.end, {&my_leaves, 1});
  PartialSum loss_sum(all_leaves.end, my_leaves, 1);
  Reducer loss_reducer(dp, how.reduction, all_leaves.end);
  loss_reducer.reserve(rank_leaves, 1);
  std::vector<std::vector<Reducer>> reducers;  // all of them may be under way at once
  std::size_t channel = 1;
  for (const auto& layer : gradients) {
    auto& of_layer = reducers.emplace_back();
    for (const PartialSum& sum : layer) {
      of_layer.emplace_back(dp, how.reduction, all_leaves.end, channel++)
          .reserve(rank_leaves, sum.width());
    }
  }

  Activations activations(layers, max_samples);
  BatchBuffer batch_buffer(recipe, run.corpus, max_samples);
  std::vector<ShardView> shards = views_of(parameters, owned);
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);  // of the global batch

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    start(gradients, my_leaves);
    loss_sum.start(my_leaves);

    // The microbatches follow each other through the leaves, so their gradients simply add up.
    for (const Range& microbatch : microbatches) {
      const bool last = &microbatch == &microbatches.back();
      const Range mine = samples_of(recipe, microbatch);
      const std::size_t samples = mine.size();
      const MicroBatch batch = batch_buffer.draw(Corpus::Split::training, step, mine);

      for (std::size_t l = 0; l < layers.size(); ++l) {
        layers[l]->forward(batch, parameters.layer(l), activations.value(l, samples),
                           activations.value(l + 1, samples));
      }
      softmax_cross_entropy(batch, activations.value(layers.size(), samples), recipe.vocab_grain,
                            inverse_batch, activations.gradient(layers.size(), samples), loss_sum);

      for (std::size_t l = layers.size(); l-- > 0;) {
        layers[l]->backward(batch, parameters.layer(l), activations.value(l, samples),
                            activations.value(l + 1, samples), activations.gradient(l + 1, samples),
                            activations.gradient(l, samples), gradients[l]);
        // A finished gradient travels while the layers before it are still at work.
        for (std::size_t p = 0; last && p < gradients[l].size(); ++p) {
          reducers[l][p].begin_reduce_scatter(gradients[l][p], rank_leaves);
        }
      }
    }

    // Partial sums of each rank -> the whole sum of the elements it owns, in the same memory.
    for (std::size_t l = layers.size(); l-- > 0;) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        reducers[l][p].finish_reduce_scatter(gradients[l][p]);
      }
    }
    loss_reducer.all_reduce(loss_sum, rank_leaves, loss_sum);
    const float loss = loss_sum.total()[0] * inverse_batch;

    auto shard = shards.begin();
    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        (shard++)->gradient = part_of(gradients[l][p].total(), owned[l][p]);
      }
    }
    report_step(run.observer, step, loss, shards, world);

    // The update is element by element, so an owner needs nobody else; then everyone gets it.
    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        const std::span<float> values = parameters.values(l, p);
        sgd_update(part_of(gradients[l][p].total(), owned[l][p]), recipe.lr,
                   part_of(values, owned[l][p]));
        reducers[l][p].begin_all_gather(values);
      }
    }
    for (auto& layer : reducers) {
      for (Reducer& reducer : layer) reducer.finish_all_gather();
    }
  }
  for (ShardView& shard : shards) shard.gradient = {};
  run.observer.finished(shards);
}

}  // namespace meshparity
