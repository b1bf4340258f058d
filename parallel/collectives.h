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
///
/// A reduction may begin early and be finished later, with work in between; nothing is copied on
/// the way: nodes are sent from where they are summed, and added up where they arrive.
class Reducer {
 public:
  /// For sums over `leaves` leaves.
  Reducer(Comm& group, Reduction reduction, std::size_t leaves);

  /// Takes the memory for reductions of up to `width` elements over these runs.
  void reserve(std::span<const Run> runs, std::size_t width);

  /// Collective. Begins a reduction: sends this rank's nodes to the owners of their elements. Until
  /// it is finished, `mine` and `runs` must stay as they are, and no other one may begin here.
  void begin(const PartialSum& mine, std::span<const Run> runs, CallSite site = CallSite::here());

  /// Collective. Rank r is left with elements share_of(width, size, r) of the sum over all runs:
  /// its nodes are pushed onto `chunk`.
  void finish_reduce_scatter(PartialSum& chunk, CallSite site = CallSite::here());

  /// Collective. Everyone is left with all elements: their owners add them up, then all gather
  /// them. The nodes are pushed onto `whole`.
  void finish_all_reduce(PartialSum& whole, CallSite site = CallSite::here());

  /// Both halves at once.
  void reduce_scatter(const PartialSum& mine, std::span<const Run> runs, PartialSum& chunk,
                      CallSite site = CallSite::here());
  void all_reduce(const PartialSum& mine, std::span<const Run> runs, PartialSum& whole,
                  CallSite site = CallSite::here());

 private:
  /// A rank's node of the elements this rank owns: its own, or where it arrives.
  struct Source {
    Run node;
    std::span<const float> values;
  };

  Run my_share() const;
  void wait_for_all(CallSite site);
  /// The node of the sum over all runs, from the sources inside it.
  void add_up(Run node, std::span<float> sum);
  void native_reduce_scatter(PartialSum& chunk, CallSite site);
  void native_all_reduce(PartialSum& whole, CallSite site);

  Comm& group_;
  Reduction reduction_;
  std::size_t leaves_;
  const PartialSum* mine_ = nullptr;  // of the reduction under way
  std::span<const Run> runs_;
  std::vector<Source> sources_;
  std::vector<Request> requests_;
  std::vector<float> incoming_;
  std::vector<Run> unions_;  // of the runs of every reservation
  PartialSum block_;
  std::vector<float> collapsed_;  // only for native reductions
  std::vector<std::size_t> counts_;
};

/// Collective over the world. What every trainer does once a step's gradients are complete: checks
/// the loss, adds up norm and digest (exact integers, so the order is free) and calls the observer.
void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards, Comm& world);

}  // namespace meshparity
