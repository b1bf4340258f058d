#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/numerics/range.h"
#include "model/observer.h"
#include "model/parameter.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// What a rank's part of a parameter has an element of each.
enum class Gathered { values, gradients, first_moments, second_moments };

/// That part; empty if there is none.
std::span<const float> part_of(const ShardView& view, Gathered what);

/// Collective over the world: the whole parameters (or gradients, or moments), in the order of
/// `specs`, on rank 0; empty on the others. Every element comes from the one rank whose shard is
/// `counted`. Throws std::logic_error if there is no such thing: gradients after the end of
/// training, moments of an optimizer that has none.
std::vector<std::vector<float>> gather_parameters(std::span<const ParameterSpec> specs,
                                                  std::span<const ShardView> shards, Gathered what,
                                                  Comm& world);

/// What a rank saw at a boundary: rows of the global batch, of which some features are here.
struct BoundaryPiece {
  std::size_t boundary = 0;
  bool is_gradient = false;
  std::size_t first_row = 0;
  std::size_t width = 0;  ///< of a row, on all ranks together
  Range features;
  std::vector<float> values;  ///< (rows, features)
};

/// Of the whole batch, (rows, width) by boundary; nothing stands at boundary 0.
struct Boundaries {
  std::vector<std::vector<float>> values;
  std::vector<std::vector<float>> gradients;
};

/// Collective over the world: all ranks' pieces together on rank 0; empty on the others. The pieces
/// of all ranks hold every element once. `rows` are those of the whole batch.
Boundaries gather_boundaries(std::span<const BoundaryPiece> pieces, std::size_t rows, Comm& world);

/// The same of a rank that saw everything.
Boundaries join_boundaries(std::span<const BoundaryPiece> pieces, std::size_t rows);

}  // namespace meshparity
