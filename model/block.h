#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/feature_group.h"
#include "model/model.h"
#include "model/numerics/canonical_sum.h"
#include "model/parameter.h"

namespace meshparity {

/// The values of the parameters that a block uses, in the order of its spec.
using ParameterValues = std::span<const std::span<const float>>;

/// The part of a parameter that a rank computes with.
struct HeldParameter {
  Shard shard;
  bool copied = true;  ///< every rank of the feature group holds the same; otherwise its own part
  /// How backward pushes its gradient. Only leaves of even size can be pushed by node as products.
  Pushed pushed = Pushed::by_leaf;
};

/// The features of a row at a boundary between blocks.
struct Features {
  std::size_t width = 0;  ///< on all ranks of the feature group together
  Range here;             ///< of those, the ones of this rank
  bool copied = true;     ///< every rank of the group holds the same; otherwise its own part
};

/// One step of depth, as this rank computes it. `forward` and `backward` have the same shape.
/// Boundaries are row-major (rows, features here).
class Block {
 public:
  virtual ~Block() = default;

  virtual const std::vector<HeldParameter>& parameters() const = 0;
  virtual Features input() const = 0;
  virtual Features output() const = 0;
  /// Floats a row that `forward` keeps for `backward`, besides its input and output.
  virtual std::size_t saved() const { return 0; }

  virtual void forward(const MicroBatch& batch, ParameterValues parameters,
                       std::span<const float> input, std::span<float> output,
                       std::span<float> saved) = 0;

  /// `output` and `saved` are what `forward` gave. `output_gradient` is used up as scratch.
  /// `input_gradient` is overwritten; a block that reads tokens gets an empty one. The gradient of
  /// every parameter used is pushed onto `gradients`, as the parameter says.
  virtual void backward(const MicroBatch& batch, ParameterValues parameters,
                        std::span<const float> input, std::span<const float> output,
                        std::span<const float> saved, std::span<float> output_gradient,
                        std::span<float> input_gradient, std::span<PartialSum> gradients) = 0;
};

/// Block number `index` of a model, for up to `most_rows` rows, as a rank of `group` computes it.
/// `group` must outlive it.
std::unique_ptr<Block> make_block(const Model& model, std::size_t index, std::size_t most_rows,
                                  FeatureGroup& group);

/// What any kind of block is made from besides its spec.
struct BlockContext {
  std::span<const ParameterSpec> used;  ///< in the order of the kind
  std::size_t most_rows = 0;
  FeatureGroup& group;
};

// Each kind, in a file of its own.
std::unique_ptr<Block> make_block(const EmbeddingSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const LinearSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const FeedForwardSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const TokenAndPositionSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const SelfAttentionSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const GeluFeedForwardSpec& spec, const BlockContext& context);
std::unique_ptr<Block> make_block(const LogitsSpec& spec, const BlockContext& context);

}  // namespace meshparity
