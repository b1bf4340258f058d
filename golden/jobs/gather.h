#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/observer.h"
#include "model/parameter.h"
#include "parallel/transport/comm.h"

namespace meshparity {

enum class Gathered { values, gradients };

/// Collective over the world: the whole parameters (or gradients), in the order of `specs`, on rank
/// 0; empty on the others. Every element comes from the one rank whose shard is `counted`.
/// Throws std::logic_error if gradients are asked for after the end of training.
std::vector<std::vector<float>> gather_parameters(std::span<const ParameterSpec> specs,
                                                  std::span<const ShardView> shards, Gathered what,
                                                  Comm& world);

}  // namespace meshparity
