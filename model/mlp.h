#pragma once

#include <cstddef>

#include "model/model.h"
#include "model/recipe.h"

namespace meshparity {

/// The character model of Bengio et al. (JMLR 3, 2003) as ml.c trains it:
/// embedding -> concatenated context -> `layers` x (linear, ReLU) -> linear -> logits.
Model mlp(const Recipe& recipe, std::size_t vocabulary);

}  // namespace meshparity
