#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/blocks.h"
#include "model/numerics/aligned_floats.h"
#include "model/parameters.h"
#include "parallel/reducer.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// The parameters and gradients of some blocks, sharded over a group (ZeRO-3, arXiv:1910.02054):
/// each rank owns an even share of the elements of every parameter, biases too, and no more. A
/// block's whole parameters exist only while it computes.
///
/// A rank's shares of a block stand side by side, so a block travels in one message from each rank
/// to each other one, parameters and gradients alike; and both travel while other blocks compute:
///
///     compute      | block 0 | block 1 | block 2 | ...     forward; backward likewise
///     parameters   |    1    |    2    |    3    |         of the next block
///     gradients              |    0    |    1    |         of the block before (in backward)
class ShardedBlocks {
 public:
  /// `microbatches[m]` are the leaves of each rank of the group; they follow each other.
  ShardedBlocks(const Blocks& blocks, const ParameterSource& source, const BatchSource& batches,
                const std::vector<std::vector<Range>>& microbatches, Comm& group,
                Reduction reduction);

  /// What this rank owns.
  Parameters& owned() { return owned_; }
  GradientSums& owned_gradients() { return owned_gradients_; }

  /// Collective. The parameters of a block begin to travel to everyone. One gather at a time, each
  /// finished before the owners change their values.
  void begin_gather(std::size_t block, CallSite site = CallSite::here());
  /// Collective. The whole parameters of a block, until the next call. Those of block `next`, if
  /// there is one, begin to travel.
  ParameterValues finish_gather(std::size_t block, std::size_t next,
                                CallSite site = CallSite::here());

  /// Memory for the gradients of one block's whole parameters over this rank's of `ranges`: its
  /// backward pushes into it.
  std::span<PartialSum> start_gradients(std::size_t block, std::span<const Range> ranges);

  /// Collective. Takes what backward has pushed, which begins to travel to the owners: the next
  /// block may start its gradients. One reduction at a time. `ranges` must stay as they are.
  void begin_reduce_scatter(std::size_t block, std::span<const Range> ranges,
                            CallSite site = CallSite::here());
  /// Collective. The owner of each element gets its sum over `ranges`.
  void finish_reduce_scatter(std::size_t block, CallSite site = CallSite::here());

 private:
  /// Parameters that stand side by side at their owners and travel together: all of a block's,
  /// unless it shares some with an earlier block.
  struct Run {
    Range parameters;
    std::vector<std::size_t> places;  // in the block, of each of them
  };
  /// How a block's parameters stand in memory.
  struct Layout {
    std::vector<Run> runs;
    std::vector<std::size_t> offsets;        // [place], in what a rank owns of the block
    std::size_t owned_size = 0;              // of that: the same on all ranks
    std::vector<std::span<float>> gathered;  // [place], and as the block reads them:
    std::vector<std::span<const float>> values;
  };

  std::vector<Layout> lay_out() const;
  std::size_t size_of(std::size_t block, std::size_t place) const;
  bool is_shared_out() const { return group_.size() > 1; }  // otherwise one rank owns all
  template <typename Visit>
  void for_each_other(Visit visit) const;
  void make_gathered();
  void make_whole_gradients(const RowLeaves& row_leaves, std::span<const Range> my_ranges);
  void unpack(std::size_t block, const Run& run, std::size_t rank, std::span<const float> owned);

  const Blocks& blocks_;
  Comm& group_;
  std::size_t leaves_;
  Parameters owned_;
  GradientSums owned_gradients_;
  std::vector<Layout> layouts_;  // [block]
  std::size_t most_owned_;       // of any block
  AlignedFloats gathered_;       // the largest block
  AlignedFloats arriving_;       // what others own of it, where that has to be copied
  std::vector<Request> lent_;
  std::vector<Request> borrowed_;
  std::vector<PartialSum> whole_gradients_;  // [place], the largest block
  PartialSum packed_;  // the same by owner: what rank 0 owns of the block, what rank 1 owns ...
  PartialSum mine_;    // of that what this rank owns, over all ranks
  Reducer reducer_;
};

}  // namespace meshparity
