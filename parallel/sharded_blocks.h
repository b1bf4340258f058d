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
class ShardedBlocks {
 public:
  /// The batch has `leaves` leaves; gradients are reduced over `ranges_of_reductions[i]` (a range
  /// for each rank of the group), which follow each other through `owned_range`.
  ShardedBlocks(const Blocks& blocks, const ParameterSource& source, std::size_t leaves,
                const std::vector<std::vector<Range>>& ranges_of_reductions, Range owned_range,
                Comm& group, Reduction reduction);

  /// What this rank owns.
  Parameters& owned() { return owned_; }
  GradientSums& owned_gradients() { return owned_gradients_; }

  /// Collective. The whole parameters of a block, until the next call.
  ParameterValues gather(std::size_t block, CallSite site = CallSite::here());

  /// Memory for the gradients of one block's whole parameters over `range`: its backward pushes
  /// into it.
  std::span<PartialSum> start_gradients(std::size_t block, Range range);

  /// Collective. Takes what backward has pushed: the owner of each element gets its sum over
  /// `ranges`.
  void reduce_scatter(std::size_t block, std::span<const Range> ranges,
                      CallSite site = CallSite::here());

 private:
  const Blocks& blocks_;
  Comm& group_;
  std::vector<std::vector<std::size_t>> counts_;  // [parameter][rank]: elements owned
  Parameters owned_;
  GradientSums owned_gradients_;
  AlignedFloats gathered_;                                           // the largest block
  std::vector<std::vector<std::span<const float>>> gathered_views_;  // [block][place], in gathered_
  std::vector<PartialSum> whole_gradients_;                          // [place], the largest block
  Reducer reducer_;
};

}  // namespace meshparity
