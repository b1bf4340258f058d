#include "model/scattered_rows.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostLevels = 32;  // leaves are counted in 32 bits

}  // namespace

ScatteredRows::ScatteredRows(std::size_t most_rows, std::size_t lookups, std::size_t width,
                             Range held)
    : lookups_(lookups), width_(width), held_(held), scratch_(kMostLevels * width) {
  places_.reserve(most_rows * lookups);
}

void ScatteredRows::push(const MicroBatch& batch, std::span<const std::int32_t> indices,
                         std::span<const float> gradients, PartialSum& table) {
  const std::size_t leaves = batch.leaf_total();
  for (Range node; node.begin < leaves; node.begin = node.end) {
    node.end = node.begin + table.next_node(leaves - node.begin).size();
    list_places(batch, node, indices);
    const std::span<float> sums = table.next_zeroed();
    for (auto first = places_.begin(); first != places_.end();) {
      const auto last = std::find_if(
          first, places_.end(), [&](const Place& place) { return place.index != first->index; });
      const std::size_t row = (static_cast<std::size_t>(first->index) - held_.begin) * width_;
      add_up(node, {first, last}, gradients, sums.subspan(row, width_), scratch_);
      first = last;
    }
    table.push(node.size());
  }
}

/// The places of a node, those of one row of the table together.
void ScatteredRows::list_places(const MicroBatch& batch, Range node,
                                std::span<const std::int32_t> indices) {
  places_.clear();
  for (std::size_t leaf = node.begin; leaf < node.end; ++leaf) {
    const Range rows = batch.leaves.rows_of(leaf, batch.samples());
    for (std::size_t place = rows.begin * lookups_; place < rows.end * lookups_; ++place) {
      const auto index = static_cast<std::size_t>(indices[place]);
      if (index < held_.begin || index >= held_.end) continue;
      if (places_.size() == places_.capacity()) {
        throw std::logic_error("ScatteredRows: more rows than memory was taken for");
      }
      places_.push_back({indices[place], static_cast<std::uint32_t>(leaf), place});
    }
  }
  std::ranges::sort(places_, {}, [](const Place& p) { return std::pair(p.index, p.place); });
}

void ScatteredRows::add_up(Range node, std::span<const Place> places,
                           std::span<const float> gradients, std::span<float> sum,
                           std::span<float> scratch) const {
  // Down to where the tree first has terms on both sides.
  while (node.size() > 1) {
    const std::size_t half = node.begin + std::bit_floor(node.size() - 1);
    const auto right =
        std::ranges::partition_point(places, [&](const Place& place) { return place.leaf < half; });
    if (right == places.end()) {
      node.end = half;
    } else if (right == places.begin()) {
      node.begin = half;
    } else {
      const std::span<float> of_right = scratch.first(width_);
      add_up({node.begin, half}, {places.begin(), right}, gradients, sum, scratch);
      add_up({half, node.end}, {right, places.end()}, gradients, of_right, scratch.subspan(width_));
      return add(sum, of_right, sum);
    }
  }
  std::ranges::fill(sum, 0.0F);
  for (const Place& place : places) add(sum, gradients.subspan(place.place * width_, width_), sum);
}

}  // namespace meshparity
