#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "model/training.h"
#include "parallel/train.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// Sums across a group in the order of the canonical sum. Each rank holds the nodes of its run of
/// leaves; the runs lie side by side in rank order (some may be empty). Whoever needs an element
/// gets every rank's nodes for it and merges them in leaf order, so it does not matter how the runs
/// were cut.
///
/// A union of runs that is not the whole tree stays a list of nodes: a later reduction across
/// another axis of the mesh goes on from there.
///
/// A reduction may begin early and be finished later, with work in between. Nodes are lent: owners
/// add them up straight from where the others hold them, if the transport can show them that.
/// Reductions that are under way together are finished in the same order on all ranks.
class Reducer {
 public:
  /// For sums over `leaves` leaves. Reducers of one group whose reductions are under way at the
  /// same time need different channels, the same on all ranks, from 0 to Comm::max_tag / 2.
  Reducer(Comm& group, Reduction reduction, std::size_t leaves, std::size_t channel = 0);

  /// Up to so many elements, an all_reduce sends all nodes to everybody: that is faster than to
  /// send each element's nodes to its owner and the sums from there.
  static std::size_t longest_short_sum(std::size_t ranks);

  /// The elements of a message: longer shares travel in several.
  static std::size_t longest_message(std::size_t ranks);

  /// Takes the memory for reductions of up to `width` elements over these runs; others throw
  /// std::logic_error.
  void reserve(std::span<const Range> runs, std::size_t width);

  /// Collective. Begins a reduction: lends this rank's nodes to the owners of their elements. Until
  /// it is finished, `mine` and `runs` must stay as they are, and no other one may begin here.
  void begin_reduce_scatter(const PartialSum& mine, std::span<const Range> runs,
                            CallSite site = CallSite::here());
  void begin_all_reduce(const PartialSum& mine, std::span<const Range> runs,
                        CallSite site = CallSite::here());

  /// Collective. Rank r is left with elements share_of(width, size, r) of the sum over all runs:
  /// its nodes are pushed onto `chunk`. That may be the sum that was begun with, if all runs
  /// together are one node: it becomes that node, of which only this rank's elements mean anything.
  void finish_reduce_scatter(PartialSum& chunk, CallSite site = CallSite::here());

  /// Collective. Everyone is left with all elements: their owners add them up and lend them to all
  /// others; a short sum everyone adds up alone. The nodes are pushed onto `whole`. That may be the
  /// sum that was begun with, if all runs together are one node: it becomes that node.
  void finish_all_reduce(PartialSum& whole, CallSite site = CallSite::here());

  /// Begun and finished at once.
  void reduce_scatter(const PartialSum& mine, std::span<const Range> runs, PartialSum& chunk,
                      CallSite site = CallSite::here());
  void all_reduce(const PartialSum& mine, std::span<const Range> runs, PartialSum& whole,
                  CallSite site = CallSite::here());

  /// Collective. Every rank's share_of(size, ranks, rank) of `whole` goes to all others. After a
  /// reduce_scatter that is the second half of an all_reduce: of the sums, or of what has become of
  /// them. Until it is finished, `whole` must stay as it is.
  void begin_all_gather(std::span<float> whole, CallSite site = CallSite::here());
  void finish_all_gather(CallSite site = CallSite::here());

 private:
  /// A rank's node, as far as this rank owns its elements.
  struct Source {
    Range node;
    std::size_t rank = 0;
    const float* own = nullptr;    // where this rank's share of its own node begins
    const float* piece = nullptr;  // where the piece being added up begins
  };

  void begin(const PartialSum& mine, std::span<const Range> runs, CallSite site);
  /// What adding up so many elements needs: a block for each level of the tree, and one more.
  std::size_t scratch_for(std::size_t share) const;
  /// The elements that a rank owns, alone or with everyone else.
  Range share_of_rank(std::size_t rank) const;
  /// Calls `visit` with every other rank, each rank in an order of its own.
  template <typename Visit>
  void for_each_other(Visit visit) const;

  /// A reduction goes step by step: for each node of the sum over all runs, for each piece of this
  /// rank's share. There is room for two steps to arrive.
  std::size_t pieces() const;
  Range node_of(std::size_t step) const { return nodes_[step / pieces()]; }
  Range piece_of(std::size_t step) const;
  std::span<float> incoming_of(std::size_t step);
  void receive(std::size_t step, CallSite site);
  void add_up(std::size_t step, std::span<float> sum, CallSite site);
  /// The elements `block` of a piece of a node, from the sources beginning with `source`, which
  /// moves on: stands in one of them, or else in `sum`. Right children go to `scratch`.
  const float* node_sum(Range node, Range block, std::size_t& source, float* sum,
                        float* scratch) const;
  /// Everyone's share of `whole`: this rank's goes to all others, theirs arrive.
  void lend_share(std::span<const float> whole, CallSite site);
  void borrow_shares(std::span<float> whole, CallSite site);
  void wait_for(std::vector<Request>& requests, CallSite site);

  /// Lets the sum under way start anew, over all runs; its memory keeps the values that are still
  /// read. Throws std::logic_error if all runs are several nodes.
  void restart_in_place(PartialSum& sum) const;

  void native_reduce_scatter(PartialSum& chunk, CallSite site);
  void native_all_reduce(PartialSum& whole, CallSite site);

  Comm& group_;
  Reduction reduction_;
  std::size_t leaves_;
  std::size_t piece_;  // the longest message
  int node_tag_;  // messages of one pair of ranks and one tag arrive in the order they were sent
  int share_tag_;
  const PartialSum* mine_ = nullptr;  // of the reduction under way
  bool everyone_owns_all_ = false;
  std::span<const Range> runs_;
  std::vector<Range> nodes_;  // of the sum over all runs
  std::vector<Source> sources_;
  AlignedFloats incoming_;  // for copies: the first half of even steps, the other of odd ones
  std::array<std::vector<Request>, 2> arrivals_;
  std::vector<Request> departures_;
  struct Share {
    Request loan;
    std::span<float> place;
  };
  std::vector<Share> borrowed_shares_;
  std::vector<Request> lent_shares_;
  AlignedFloats scratch_;    // inner nodes of the tree
  AlignedFloats collapsed_;  // only for native reductions
  std::vector<std::size_t> counts_;
};

/// Collective over the world. What every trainer does once a step's gradients are complete: checks
/// the loss, adds up norm and digest (exact integers, so the order is free) and calls the observer.
void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards, Comm& world);

}  // namespace meshparity
