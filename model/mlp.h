#pragma once

#include <vector>

#include "model/layer.h"
#include "model/recipe.h"

namespace meshparity {

/// The character model of Bengio et al. (JMLR 3, 2003) as ml.c trains it:
/// embedding -> concatenated context -> `layers` x (linear, ReLU) -> linear -> logits.
/// Consecutive linear layers form (columns, rows) pairs; an odd one out stays whole.
std::vector<LayerSpec> mlp_layers(const Recipe& recipe, std::size_t vocabulary);

}  // namespace meshparity
