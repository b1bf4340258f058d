#pragma once

#include <cstddef>
#include <string>

#include "golden/files/checkpoint.h"
#include "golden/files/safetensors.h"

namespace meshparity {

/// Writes a checkpoint again, into a folder and under its usual name: gathered by one rank, or
/// sharded as so many ranks would that share out every parameter. Throws UsageError if it is
/// damaged, SharedFailure if writing fails.
void convert_checkpoint(const Checkpoint& from, const std::string& folder, CheckpointLayout layout,
                        std::size_t ranks);

/// All of a checkpoint, as the gathered file of it holds it. Not checked for damage.
TensorFile gathered_tensors(const Checkpoint& from);

/// What is in it, in lines of text, and whether it is damaged.
std::string explain(const Checkpoint& checkpoint);

}  // namespace meshparity
