#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/blocks.h"
#include "model/parameters.h"
#include "parallel/reducer.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// Copies of some parameters, one on each rank of a group that shares out the batch.
///
/// An all_reduce of the gradients would leave everybody with the same bits, to take the same
/// update. It is a reduce_scatter and an all_gather: the update is made between the two, by the
/// owner of each element, once instead of once per rank, and what is gathered are the new values
/// (weight-update sharding, arXiv:2004.13336).
///
///     parameter elements   | 0 1 2 3 | 4 5 6 7 | 8 9 10 |
///     owner                    0         1         2
class Replicas {
 public:
  /// Every rank holds the same parts of the blocks' parameters, those of `parameters`, and adds up
  /// its range of `rank_leaves`, all leaves together, in `gradients`.
  Replicas(const Blocks& blocks, Parameters& parameters, GradientSums& gradients,
           std::vector<Range> rank_leaves, Comm& group, Reduction reduction);

  /// What this rank owns of each parameter, and where that stands in what it holds.
  const std::vector<Shard>& owned() const { return owned_; }
  Range owned_part(std::size_t parameter) const { return parts_[parameter]; }
  const std::vector<Range>& owned_parts() const { return parts_; }
  /// The values of what it owns.
  std::vector<std::span<float>> owned_values();

  /// For observers: what this rank owns, and (in a group of several) the whole copies.
  std::vector<ShardView> owned_views();
  std::vector<ShardView> copies() const;

  /// Collective. A block's sums are complete on this rank: they begin to travel while other blocks
  /// are still at work. All ranks begin in the same order.
  void begin_reduce_scatter(std::size_t block, CallSite site = CallSite::here());
  /// Collective. Every sum, over all ranks, stands in its owner's elements of `gradients`.
  void finish_reduce_scatter(CallSite site = CallSite::here());

  /// Collective. An owner has updated its elements of a parameter: the others get them.
  void begin_all_gather(std::size_t parameter, CallSite site = CallSite::here());
  void finish_all_gather(CallSite site = CallSite::here());

 private:
  Reducer& reducer_of(Use use) { return reducers_[use.block][use.place]; }

  Parameters& parameters_;
  GradientSums& gradients_;
  std::vector<Range> rank_leaves_;
  Comm& group_;
  std::vector<Shard> owned_;
  std::vector<Range> parts_;
  std::vector<std::vector<Reducer>> reducers_;  // for each use: all may be under way at once
  std::vector<Use> first_uses_;                 // of each parameter
};

}  // namespace meshparity
