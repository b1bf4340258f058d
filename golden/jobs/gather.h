#pragma once

#include <cstddef>
#include <span>
#include <vector>

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

}  // namespace meshparity
