#include "model/numerics/canonical_sum.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

SumRoom room_for_any(std::size_t leaves, std::span<const Range> runs, std::size_t width) {
  SumRoom room(1, width);
  for (const Range run : runs) {
    room = room | SumRoom(most_nodes({&run, 1}, leaves, Pushed::by_leaf), width);
  }
  return room;
}

}  // namespace

bool is_node(Range node, std::size_t leaves) {
  // Complete subtrees start at a multiple of their power-of-two size. Those on the right edge of
  // the tree may be shorter, and start where the complete subtree of the next power of two would.
  const std::size_t full = std::bit_ceil(node.size());
  return node.begin % full == 0 && (node.size() == full || node.end == leaves);
}

Range first_node_of(Range run, std::size_t leaves) {
  if (is_node(run, leaves)) return run;
  // Otherwise it is a complete subtree: the largest power of two that fits into the run and divides
  // its beginning.
  std::size_t size = std::bit_floor(run.size());
  while (run.begin % size != 0) size /= 2;
  return {run.begin, run.begin + size};
}

std::vector<Range> nodes_of(Range run, std::size_t leaves) {
  std::vector<Range> nodes;
  for (; !run.empty(); run.begin = nodes.back().end) nodes.push_back(first_node_of(run, leaves));
  return nodes;
}

std::size_t most_nodes(std::span<const Range> runs, std::size_t leaves, Pushed how) {
  std::vector<Range> nodes;
  std::size_t most = 0;
  for (Range run : runs) {
    while (!run.empty()) {
      const Range next =
          how == Pushed::by_leaf ? Range{run.begin, run.begin + 1} : first_node_of(run, leaves);
      nodes.push_back(next);
      most = std::max(most, nodes.size());
      while (nodes.size() > 1 && is_node({nodes[nodes.size() - 2].begin, next.end}, leaves)) {
        nodes.pop_back();
        nodes.back().end = next.end;
      }
      run.begin = next.end;
    }
  }
  return most;
}

// A sum that nothing is pushed onto can still take one node: the result of a reduction.
SumRoom::SumRoom(std::size_t nodes, std::size_t sum_width)
    : width(sum_width), floats(std::max(nodes, std::size_t{1}) * whole_cache_lines(sum_width)) {}

SumRoom SumRoom::operator|(const SumRoom& other) const {
  SumRoom both;
  both.width = std::max(width, other.width);
  both.floats = std::max(floats, other.floats);
  return both;
}

PartialSum::PartialSum(std::size_t leaves, const SumRoom& room)
    : leaves_(leaves),
      width_(room.width),
      max_width_(room.width),
      slot_size_(whole_cache_lines(room.width)),
      slots_(room.floats) {
  // A run has up to two nodes of each size, and one more is pushed.
  nodes_.reserve(2 * static_cast<std::size_t>(std::bit_width(leaves)) + 1);
}

PartialSum::PartialSum(std::size_t leaves, std::span<const Range> runs, std::size_t width)
    : PartialSum(leaves, room_for_any(leaves, runs, width)) {}

PartialSum::PartialSum(std::size_t leaves, Range run, std::size_t width)
    : PartialSum(leaves, std::span<const Range>(&run, 1), width) {
  start(run);
}

void PartialSum::start(Range run, std::size_t width) {
  if (width > max_width_) throw std::logic_error("PartialSum: wider than its buffers");
  run_ = run;
  width_ = width;
  slot_size_ = whole_cache_lines(width);
  nodes_.clear();
}

std::span<float> PartialSum::next() {
  require_room();
  return {slots_.data() + nodes_.size() * slot_size_, width_};
}

void PartialSum::require_room() const {
  if ((nodes_.size() + 1) * slot_size_ <= slots_.size()) return;
  throw std::logic_error("PartialSum: more nodes at once than memory was taken for");
}

std::span<float> PartialSum::next_zeroed() {
  const std::span<float> buffer = next();
  std::fill(buffer.begin(), buffer.end(), 0.0F);
  return buffer;
}

Range PartialSum::next_node(std::size_t leaf_total) const {
  const std::size_t begin = pushed().end;
  return first_node_of({begin, begin + leaf_total}, leaves_);
}

void PartialSum::push(std::size_t leaf_total) {
  const std::size_t begin = pushed().end;
  if (begin + leaf_total > run_.end) {
    throw std::logic_error("PartialSum: leaf " + std::to_string(begin + leaf_total - 1) +
                           " lies behind the end of its run");
  }
  require_room();
  nodes_.push_back({begin, begin + leaf_total});
  // The left sibling of the newest node, if it is complete, is its neighbour on the stack.
  while (nodes_.size() > 1) {
    const Range left = nodes_[nodes_.size() - 2];
    const Range right = nodes_.back();
    if (!is_node({left.begin, right.end}, leaves_)) break;
    float* const sum = slots_.data() + (nodes_.size() - 2) * slot_size_;
    add_rows({sum + slot_size_, width_}, 1, {sum, width_});
    nodes_.pop_back();
    nodes_.back().end = right.end;
  }
}

void PartialSum::push(Range node, std::span<const float> values) {
  if (node.begin != pushed().end) {
    throw std::logic_error("PartialSum: node at leaf " + std::to_string(node.begin) +
                           " pushed out of order");
  }
  if (!nodes_.empty() && is_node({nodes_.back().begin, node.end}, leaves_)) {
    // It merges with its left neighbour at once, and need not be copied for that.
    const std::size_t size = nodes_.back().size() + node.size();
    add_rows(values, 1, {slots_.data() + (nodes_.size() - 1) * slot_size_, width_});
    nodes_.pop_back();
    push(size);
    return;
  }
  const std::span<float> buffer = next();
  std::copy(values.begin(), values.end(), buffer.begin());
  push(node.size());
}

std::span<const float> PartialSum::values(std::size_t node) const {
  return {slots_.data() + node * slot_size_, width_};
}

std::span<float> PartialSum::values(std::size_t node) {
  return {slots_.data() + node * slot_size_, width_};
}

Range PartialSum::pushed() const {
  return {run_.begin, nodes_.empty() ? run_.begin : nodes_.back().end};
}

std::span<float> PartialSum::total() {
  if (nodes_.size() != 1 || nodes_.front() != Range{0, leaves_}) {
    throw std::logic_error("PartialSum: the sum is not complete");
  }
  return {slots_.data(), width_};
}

}  // namespace meshparity
