#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "model/corpus.h"
#include "model/layer.h"
#include "model/parameter.h"
#include "model/recipe.h"
#include "model/training.h"

/// The memory of a training run. All of it is taken before the first step: a step allocates
/// nothing.
namespace meshparity {

using Layers = std::vector<std::unique_ptr<Layer>>;

/// The layers as one rank computes them alone.
Layers make_layers(std::span<const LayerSpec> specs);

/// A buffer for each of a rank's shards of parameters: [layer][parameter].
class Parameters {
 public:
  /// `shards[layer]` are the shards of one layer. The values start as 0.
  explicit Parameters(std::vector<std::vector<Shard>> shards);

  /// The shards the layers compute with.
  explicit Parameters(const Layers& layers);

  void fill(const ParameterSource& source);

  std::size_t layers() const { return shards_.size(); }
  const std::vector<Shard>& shards(std::size_t layer) const { return shards_[layer]; }
  std::span<float> values(std::size_t layer, std::size_t parameter) {
    return values_[layer][parameter];
  }
  ParameterValues layer(std::size_t layer) const { return views_[layer]; }

  /// A view of every shard, layer by layer, without gradients yet.
  std::vector<ShardView> views() const;

 private:
  std::vector<std::vector<Shard>> shards_;
  std::vector<std::vector<AlignedFloats>> values_;
  std::vector<std::vector<std::span<const float>>> views_;
};

/// The shards of each layer's parameters.
std::vector<std::vector<Shard>> shards_of(const Layers& layers);

/// A PartialSum for each parameter of each layer: [layer][parameter].
using GradientSums = std::vector<std::vector<PartialSum>>;

/// Sums over `leaves` leaves of the batch that can stream any of `runs`.
GradientSums make_gradient_sums(const Layers& layers, std::size_t leaves,
                                std::span<const Range> runs);

/// Starts every sum at `run.begin`.
void start(GradientSums& sums, Range run);

/// Puts the finished sums into the views of the same shards, in the same order.
void attach_gradients(std::span<ShardView> views, GradientSums& sums);

/// What passes between layers, forward and backward, for one microbatch. Boundary 0 is what the
/// first layer takes, boundary i what layer i - 1 gives. Each is (samples, width).
class Activations {
 public:
  Activations(const Layers& layers, std::size_t max_samples);
  std::span<float> value(std::size_t boundary, std::size_t samples);
  std::span<float> gradient(std::size_t boundary, std::size_t samples);

 private:
  std::vector<std::size_t> widths_;
  std::vector<AlignedFloats> values_;
  std::vector<AlignedFloats> gradients_;
};

/// Tokens and targets of the samples a rank works on.
class BatchBuffer {
 public:
  BatchBuffer(const Recipe& recipe, const Corpus& corpus, std::size_t max_samples);
  /// Slots [samples.begin, samples.end) of the global batch of `step`.
  MicroBatch draw(Corpus::Split split, std::size_t step, Range samples);

 private:
  const Recipe& recipe_;
  const Corpus& corpus_;
  std::vector<Token> tokens_;
  std::vector<Token> targets_;
};

}  // namespace meshparity
