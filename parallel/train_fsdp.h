#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/working_memory.h"
#include "parallel/reducer.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// The parameters and gradients of some layers, sharded over a group (ZeRO-3, arXiv:1910.02054):
/// each rank owns an even share of the elements of every parameter, biases too, and no more. A
/// whole layer exists only while it computes.
class ShardedLayers {
 public:
  /// The batch has `leaves` leaves; gradients are reduced over `runs_of_reductions[i]` (a run for
  /// each rank of the group), which follow each other through `owned_run`.
  ShardedLayers(const Layers& layers, Comm& group, Reduction reduction, std::size_t leaves,
                const std::vector<std::vector<Range>>& runs_of_reductions, Range owned_run);

  /// What this rank owns.
  Parameters& owned() { return owned_; }
  GradientSums& owned_gradients() { return owned_gradients_; }

  /// Collective. The whole parameters of a layer, until the next call.
  ParameterValues gather(std::size_t layer, CallSite site = CallSite::here());

  /// Memory for the gradients of one whole layer over `run`; the layer's backward pushes into it.
  std::span<PartialSum> start_gradients(std::size_t layer, Range run);

  /// Collective. Takes what backward has pushed: the owner of each element gets its sum over
  /// `runs`.
  void reduce_gradients(std::size_t layer, std::span<const Range> runs,
                        CallSite site = CallSite::here());

 private:
  Comm& group_;
  std::vector<std::vector<Shard>> whole_;                      // [layer][parameter]
  std::vector<std::vector<std::vector<std::size_t>>> counts_;  // [layer][parameter][rank]
  Parameters owned_;
  GradientSums owned_gradients_;
  AlignedFloats gathered_;                                     // the largest layer
  std::vector<std::vector<std::span<float>>> gathered_parts_;  // [layer][parameter], in gathered_
  std::vector<std::vector<std::span<const float>>> gathered_views_;
  std::vector<PartialSum> whole_gradients_;  // [parameter], the largest layer
  Reducer reducer_;
};

}  // namespace meshparity
