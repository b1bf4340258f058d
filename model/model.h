#pragma once

#include <cstddef>
#include <vector>

#include "model/layer.h"
#include "model/recipe.h"

namespace meshparity {

/// The model that a recipe trains, first layer first. Trainers know no more of a model than this
/// list.
std::vector<LayerSpec> model_layers(const Recipe& recipe, std::size_t vocabulary);

/// All parameters of a model, first layer first.
std::vector<ParameterSpec> parameters_of(const std::vector<LayerSpec>& layers);

}  // namespace meshparity
