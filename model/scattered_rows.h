#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"

namespace meshparity {

/// The gradient of a table whose rows are looked up: each row's is the canonical sum of the
/// gradients of the places where it was taken, in order of (row of the batch, lookup). A leaf of
/// the batch that does not take a row adds +0 to it, which changes no sum: a leaf starts at +0 and
/// so never is -0.
class ScatteredRows {
 public:
  /// For up to `most_rows` rows of the batch, each of which looks up `lookups` rows of `width`.
  /// Only the rows `held` of the table are added up.
  ScatteredRows(std::size_t most_rows, std::size_t lookups, std::size_t width, Range held);

  /// indices and gradients of the places (rows, lookups), (rows, lookups, width): pushes the
  /// gradient of the rows held, node by node.
  void push(const MicroBatch& batch, std::span<const std::int32_t> indices,
            std::span<const float> gradients, PartialSum& table);

 private:
  struct Place {
    std::int32_t index = 0;
    std::uint32_t leaf = 0;
    std::size_t place = 0;
  };

  void list_places(const MicroBatch& batch, Range node, std::span<const std::int32_t> indices);
  /// sum = the canonical sum, over the leaves of `node`, of the gradients at `places`.
  void add_up(Range node, std::span<const Place> places, std::span<const float> gradients,
              std::span<float> sum, std::span<float> scratch) const;

  std::size_t lookups_;
  std::size_t width_;
  Range held_;
  std::vector<Place> places_;
  AlignedFloats scratch_;  // a row for each level of the tree
};

}  // namespace meshparity
