#pragma once

#include <string>
#include <vector>

#include "golden/programs/tensor_comparison.h"

namespace meshparity {

/// Two files or recordings on a map, one HTML file with nothing to load and nothing to run: blocks
/// down, forward, backward, gradients and updates across, each field shaded by how far its tensors
/// are apart. `source` says what was compared; `difference` is the first one, in words, or empty.
std::string difference_page(const std::string& source, const std::string& difference,
                            const std::vector<TensorComparison>& tensors);

}  // namespace meshparity
