#include "model/model.h"

#include <utility>

#include "model/mlp.h"

namespace meshparity {

std::vector<LayerSpec> model_layers(const Recipe& recipe, std::size_t vocabulary) {
  return mlp_layers(recipe, vocabulary);  // the one model so far
}

std::vector<ParameterSpec> parameters_of(const std::vector<LayerSpec>& layers) {
  std::vector<ParameterSpec> parameters;
  for (const LayerSpec& layer : layers) {
    for (ParameterSpec& parameter : parameters_of(layer))
      parameters.push_back(std::move(parameter));
  }
  return parameters;
}

}  // namespace meshparity
