#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/range.h"

/// The canonical sum: the one order in which every sum of a training run is added, whoever adds it.
///
/// A sum over `n` terms is cut into leaves of `grain` terms. A leaf is added in index order from
/// +0. The leaves are combined by the left-complete binary tree (a Merkle tree's, RFC 6962):
///
///     T(first, 1) = leaf(first)
///     T(first, m) = T(first, h) + T(first + h, m - h),  h = the largest power of two below m
///
/// Any contiguous run of leaves is a short list of whole subtrees (*nodes*), so ranks that own runs
/// compute their nodes alone and whoever holds all nodes finishes the tree: every split of whole
/// leaves gives the same bits.
namespace meshparity {

/// True if [node.begin, node.end) is a whole subtree of the tree over `leaves` leaves.
bool is_node(Range node, std::size_t leaves);

/// The largest node that a run of leaves (not empty) starts with.
Range first_node_of(Range run, std::size_t leaves);

/// The nodes that a run of leaves decomposes into, left to right: the fewest whole subtrees.
std::vector<Range> nodes_of(Range run, std::size_t leaves);

/// How a run of leaves is pushed onto a sum: one leaf after the other, or as the run's nodes, each
/// formed whole by whoever has all of its terms.
enum class Pushed { by_leaf, by_node };

/// How many nodes a sum holds at its fullest, the one being pushed included, when `runs`, which
/// follow each other, are pushed.
std::size_t most_nodes(std::span<const Range> runs, std::size_t leaves, Pushed how);

/// Memory for sums of several shapes, one at a time.
struct SumRoom {
  std::size_t width = 0;   ///< of the widest
  std::size_t floats = 0;  ///< of the one that takes most

  SumRoom() = default;
  /// For sums of up to `width` elements that hold up to `nodes` nodes at once.
  SumRoom(std::size_t nodes, std::size_t width);
  /// The room that is enough for both.
  SumRoom operator|(const SumRoom& other) const;
};

/// A canonical sum in progress: `width` independent sums (the elements of a tensor) over one run of
/// leaves, held as nodes. Leaves or whole nodes are pushed left to right; two siblings merge as
/// soon as both exist, so a few buffers suffice (a binary counter).
///
/// All memory is taken by the constructor. What does not fit into it cannot be pushed: that throws
/// std::logic_error.
class PartialSum {
 public:
  /// Can push what fits into `room`.
  PartialSum(std::size_t leaves, const SumRoom& room);

  /// Can stream any of `runs` of a sum over `leaves` leaves, leaf by leaf, for up to `width`
  /// elements.
  PartialSum(std::size_t leaves, std::span<const Range> runs, std::size_t width);

  /// One run, all of whose leaves will be pushed here.
  PartialSum(std::size_t leaves, Range run, std::size_t width);

  /// Forgets everything and starts at leaf `run.begin`, with `width` elements.
  void start(Range run, std::size_t width);
  void start(Range run) { start(run, width_); }

  /// The buffer to write the next node into; its contents are undefined.
  std::span<float> next();

  /// The next node, set to +0: what a leaf starts from.
  std::span<float> next_zeroed();

  /// The largest node that the next `leaf_total` > 0 leaves start with. A caller who has all of its
  /// terms may add them up elsewhere and push the node whole.
  Range next_node(std::size_t leaf_total) const;

  /// The buffer from `next` now holds the node over the next `leaf_total` leaves: merge it.
  void push(std::size_t leaf_total = 1);

  /// Pushes a copy of a node that was computed elsewhere.
  void push(Range node, std::span<const float> values);

  /// The nodes so far, left to right, and their values.
  std::span<const Range> nodes() const { return nodes_; }
  std::span<const float> values(std::size_t node) const;
  std::span<float> values(std::size_t node);

  /// The run that has been pushed so far.
  Range pushed() const;

  /// The whole sum. Throws std::logic_error unless every leaf of the tree has been pushed.
  std::span<float> total();

  std::size_t leaves() const { return leaves_; }
  std::size_t width() const { return width_; }

 private:
  void require_room() const;

  std::size_t leaves_;
  std::size_t width_;
  std::size_t max_width_;
  std::size_t slot_size_;  // floats: each slot begins with a cache line
  Range run_;
  std::vector<Range> nodes_;  // the stack, left to right
  AlignedFloats slots_;       // slot i holds node i
};

}  // namespace meshparity
