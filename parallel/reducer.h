#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// canonical: every sum in the recipe's own order, the same bits on every mesh. native: the
/// transport's own float reductions, whose order is unknown.
enum class Reduction { canonical, native };

/// Sums across a group in the order of the canonical sum. Each rank holds the nodes of its run of
/// leaves; the runs lie side by side in rank order (some may be empty). The owner of an element
/// gets every rank's nodes for it and merges them in leaf order, so it does not matter how the runs
/// were cut.
///
/// A union of runs that is not the whole tree stays a list of nodes: a later reduction across
/// another axis of the mesh goes on from there.
///
/// A reduction may begin early and be finished later, with work in between. Nodes are lent: owners
/// read them where the others hold them, if the transport can show them.
/// Reductions that are under way together are finished in the same order on all ranks.
class Reducer {
 public:
  /// For sums over `leaves` leaves. Reducers of one group whose reductions are under way at the
  /// same time need different channels, the same on all ranks, from 0 to Comm::max_tag / 2.
  Reducer(Comm& group, Reduction reduction, std::size_t leaves, std::size_t channel = 0);

  /// Up to this many elements, an all_reduce sends all nodes to everybody: one round is faster than
  /// sending nodes to the owners and sums back.
  static std::size_t longest_short_sum(std::size_t ranks);

  /// The most elements of a message: longer shares travel in several.
  static std::size_t longest_message(std::size_t ranks);

  /// Takes the memory for reductions of up to `width` elements over these runs. A reduction that
  /// needs more throws std::logic_error.
  void reserve(std::span<const Range> runs, std::size_t width);

  /// Collective. Begins a reduction: lends this rank's nodes to the owners of their elements. Until
  /// it is finished, `mine` and `runs` must stay as they are, and no other one may begin here.
  void begin_reduce_scatter(const PartialSum& mine, std::span<const Range> runs,
                            CallSite site = CallSite::here());
  void begin_all_reduce(const PartialSum& mine, std::span<const Range> runs,
                        CallSite site = CallSite::here());

  /// Collective. Rank r gets elements share_of(width, size, r) of the sum over all runs: its nodes
  /// are pushed onto `chunk`. `chunk` may be the sum that was begun with if all runs together are
  /// one node: it becomes that node, in which only this rank's elements are valid.
  void finish_reduce_scatter(PartialSum& chunk, CallSite site = CallSite::here());

  /// Collective. Everyone gets all elements: owners add them up and lend them to all others; of a
  /// short sum everyone adds up all. The nodes are pushed onto `whole`. `whole` may be the sum that
  /// was begun with if all runs together are one node: it becomes that node.
  void finish_all_reduce(PartialSum& whole, CallSite site = CallSite::here());

  /// Begun and finished at once.
  void reduce_scatter(const PartialSum& mine, std::span<const Range> runs, PartialSum& chunk,
                      CallSite site = CallSite::here());
  void all_reduce(const PartialSum& mine, std::span<const Range> runs, PartialSum& whole,
                  CallSite site = CallSite::here());

  /// Collective. Every rank's share_of(size, ranks, rank) of `whole` goes to all others: after a
  /// reduce_scatter, the second half of an all_reduce (an update may come in between). Until it is
  /// finished, `whole` must stay as it is.
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
  /// Floats to add up a share in: a block for each level of the tree, and one more.
  std::size_t scratch_for(std::size_t share) const;
  /// The elements that a rank owns, alone or with everyone else.
  Range share_of_rank(std::size_t rank) const;
  /// Calls `visit` with every other rank, from the next one on: no rank is everyone's first.
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
  /// Adds up the elements `block` of a piece of a node from its sources, the first of which is
  /// `source`; moves `source` past them. The result is in a source if there is only one, else in
  /// `sum`. Right children go to `scratch`.
  const float* node_sum(Range node, Range block, std::size_t& source, float* sum,
                        float* scratch) const;
  /// Everyone's share of `whole`: this rank's goes to all others, theirs arrive.
  void lend_share(std::span<const float> whole, CallSite site);
  void borrow_shares(std::span<float> whole, CallSite site);
  void wait_for(std::vector<Request>& requests, CallSite site);

  /// Empties the sum under way, so that the result can be pushed onto it; the values in its memory
  /// stay. Throws std::logic_error if all runs together are several nodes.
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
  AlignedFloats incoming_;  // copies of loans: the first half for even steps, the other for odd
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

}  // namespace meshparity
