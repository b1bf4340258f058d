#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/canonical_sum.h"
#include "model/training.h"
#include "parallel/comm.h"
#include "parallel/train.h"

namespace meshparity {

/// Sums across a group in the order of the canonical sum. Each rank holds the nodes of its run of
/// leaves; the runs lie side by side in rank order (some may be empty). Whoever needs an element
/// gets every rank's nodes for it and merges them in leaf order, so it does not matter how the runs
/// were cut.
///
/// A union of runs that is not the whole tree stays a list of nodes: a later reduction across
/// another axis of the mesh goes on from there.
class Reducer {
 public:
  /// For sums over `leaves` leaves.
  Reducer(Comm& group, Reduction reduction, std::size_t leaves);

  /// Takes the memory for reductions of up to `width` elements over these runs.
  void reserve(std::span<const Run> runs, std::size_t width);

  /// Collective. Rank r is left with elements share_of(width, size, r) of the sum over all runs:
  /// its nodes are pushed onto `chunk`. An all-to-all, then local adds.
  void reduce_scatter(const PartialSum& mine, std::span<const Run> runs, PartialSum& chunk,
                      CallSite site = CallSite::here());

  /// Collective. Everyone is left with all elements: reduce_scatter, then all_gather. The nodes are
  /// pushed onto `whole`.
  void all_reduce(const PartialSum& mine, std::span<const Run> runs, PartialSum& whole,
                  CallSite site = CallSite::here());

 private:
  void native_reduce_scatter(const PartialSum& mine, std::span<const Run> runs, PartialSum& chunk,
                             CallSite site);
  void native_all_reduce(const PartialSum& mine, std::span<const Run> runs, PartialSum& whole,
                         CallSite site);
  /// The nodes of `mine` added up, for the transport to go on with.
  std::span<float> collapsed(const PartialSum& mine);

  Comm& group_;
  Reduction reduction_;
  std::size_t leaves_;
  std::size_t width_ = 0;
  std::vector<Run> unions_;  // of the runs of every reservation
  PartialSum chunk_;
  std::vector<float> outgoing_;
  std::vector<float> incoming_;
  std::vector<std::size_t> outgoing_counts_;
  std::vector<std::size_t> incoming_counts_;
};

/// Collective over the world. What every trainer does once a step's gradients are complete: checks
/// the loss, adds up norm and digest (exact integers, so the order is free) and calls the observer.
void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards, Comm& world);

}  // namespace meshparity
