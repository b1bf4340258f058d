#pragma once

#include <cstddef>
#include <span>

#include "model/working_memory.h"
#include "parallel/transport/comm.h"
#include "parallel/train.h"

namespace meshparity {

/// The layers as one rank of a tensor-parallel group computes them. With one rank in the group they
/// are the serial layers. Layers that are not split are replicated. `tp` must outlive the layers;
/// their forward and backward are collective over it.
Layers make_tensor_parallel_layers(std::span<const LayerSpec> specs, std::size_t max_samples,
                                   Comm& tp, Reduction reduction);

}  // namespace meshparity
