#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/blocks.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "model/observer.h"
#include "model/parameter.h"

/// The parameters that a rank holds, and the sums of their gradients. All memory is taken before
/// the first step.
namespace meshparity {

/// Memory for a shard of each parameter.
class Parameters {
 public:
  /// What the blocks compute with.
  Parameters(const Blocks& blocks, const ParameterSource& source);
  /// Other parts of the same parameters, in the same order. Parameter p takes `rooms[p]` floats of
  /// memory, side by side.
  Parameters(const Blocks& blocks, std::vector<Shard> shards, const ParameterSource& source,
             std::span<const std::size_t> rooms);

  std::size_t size() const { return shards_.size(); }
  const std::vector<Shard>& shards() const { return shards_; }
  std::span<float> values(std::size_t parameter) { return values_[parameter]; }
  /// The memory of some parameters that follow each other, gaps included.
  std::span<const float> side_by_side(Range parameters) const;
  /// The values that a block uses.
  ParameterValues operator()(std::size_t block) const { return of_blocks_[block]; }

  /// All elements of each shard.
  std::vector<Range> whole_parts() const;
  /// For observers: a view of each shard, without gradients.
  std::vector<ShardView> views() const;

 private:
  std::vector<Shard> shards_;
  AlignedFloats memory_;
  std::vector<std::size_t> starts_;  // of each parameter in the memory, and the end
  std::vector<std::span<float>> values_;
  std::vector<std::vector<std::span<const float>>> of_blocks_;
};

/// How a block pushes the gradient of its parameter number `place`: by node only if the leaves of
/// the batch are even.
Pushed how_pushed(const Block& block, std::size_t place, const RowLeaves& leaves);

/// A canonical sum for each use of a parameter by a block, over leaves of the batch.
class GradientSums {
 public:
  /// Of these parts of the blocks' parameters. Sums over the leaves of the batch, onto which
  /// `microbatches`, which follow each other, can be pushed.
  GradientSums(const Blocks& blocks, const std::vector<Shard>& shards, const BatchSource& batches,
               std::span<const Range> microbatches);

  /// The sums of the parameters that a block uses.
  std::span<PartialSum> operator()(std::size_t block) { return sums_[block]; }
  PartialSum& of(Use use) { return sums_[use.block][use.place]; }

  /// Starts every sum at leaf `range.begin`.
  void start(Range range);

  /// Once a step, when all leaves are in: the gradient of the elements `part` of a parameter's
  /// shard, its uses added up, first use first.
  std::span<const float> add_uses(std::size_t parameter, Range part);
  std::span<const float> add_uses(std::size_t parameter);

 private:
  std::vector<std::vector<PartialSum>> sums_;
  std::vector<std::vector<Use>> uses_;  // of each parameter
};

}  // namespace meshparity
