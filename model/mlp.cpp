#include "model/mlp.h"

#include <string>

namespace meshparity {

std::vector<LayerSpec> mlp_layers(const Recipe& recipe, std::size_t vocabulary) {
  std::vector<LayerSpec> layers;
  layers.emplace_back(EmbeddingSpec{"embedding", vocabulary, recipe.embedding, recipe.context});
  const std::size_t linears = recipe.layers + 1;
  for (std::size_t i = 0; i < linears; ++i) {
    const bool last = i + 1 == linears;
    LinearSpec linear;
    linear.name = last ? "output" : "hidden." + std::to_string(i);
    linear.inputs = i == 0 ? recipe.context * recipe.embedding : recipe.hidden;
    linear.outputs = last ? vocabulary : recipe.hidden;
    linear.relu = !last;
    linear.split = i % 2 == 1 ? LinearSplit::rows
                   : last     ? LinearSplit::whole
                              : LinearSplit::columns;
    linear.input_grain = recipe.feature_grain;
    linear.output_grain = last ? recipe.vocab_grain : recipe.feature_grain;
    layers.emplace_back(linear);
  }
  return layers;
}

}  // namespace meshparity
