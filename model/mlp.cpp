// The MLP as a value. V tokens, C = context, E = embedding, H = hidden, B samples.
//
//     tensor             shape        tensor parallelism             saved for backward
//     tokens             (B, C)       whole                          with the batch
//     embedding.weight   (V, E)       whole
//     x                  (B, C E)     whole                          as a boundary
//     hidden.0.weight    (C E, H)     columns
//     hidden.0.bias      (H)          like its columns
//     h.0                (B, H)       like its columns               as a boundary
//     hidden.1.weight    (H, H)       rows; .2 columns, .3 rows ...
//     hidden.1.bias      (H)          whole where the weight is cut by rows
//     h.1                (B, H)       whole; h.2 by columns ...      as a boundary
//     output.weight      (H, V)       rows after columns, else whole
//     output.bias        (V)          whole
//     logits             (B, V)       whole                          as a boundary
//
// Consecutive linear blocks form (columns, rows) pairs; an odd one out stays whole.

#include "model/mlp.h"

#include <string>
#include <utility>

namespace meshparity {
namespace {

/// ml.c's rule: uniform in [-k, k), k = init_scale / fan_in.
Initial initial_of(const Recipe& recipe, std::size_t fan_in) {
  return {Initial::Kind::uniform, recipe.init_scale / static_cast<float>(fan_in)};
}

/// Adds a parameter; returns what blocks call it.
std::size_t add(Model& model, ParameterSpec parameter) {
  model.parameters.push_back(std::move(parameter));
  return model.parameters.size() - 1;
}

}  // namespace

Model mlp(const Recipe& recipe, std::size_t vocabulary) {
  Model model;
  model.head = {vocabulary, recipe.vocab_grain};
  const std::size_t embedding = add(model, {.name = "embedding.weight",
                                            .rows = vocabulary,
                                            .columns = recipe.embedding,
                                            .decays = true,
                                            .initial = initial_of(recipe, recipe.embedding)});
  model.blocks.push_back({"embedding", EmbeddingSpec{recipe.context}, {embedding}});

  std::size_t inputs = recipe.context * recipe.embedding;
  for (std::size_t i = 0; i <= recipe.layers; ++i) {
    const bool last = i == recipe.layers;
    const std::string name = last ? "output" : "hidden." + std::to_string(i);
    const std::size_t outputs = last ? vocabulary : recipe.hidden;
    const Initial initial = initial_of(recipe, inputs);
    const std::size_t weight = add(model, {.name = name + ".weight",
                                           .rows = inputs,
                                           .columns = outputs,
                                           .decays = true,
                                           .initial = initial});
    const std::size_t bias = add(
        model, {.name = name + ".bias", .columns = outputs, .is_vector = true, .initial = initial});
    const LinearSpec linear{
        .relu = !last,
        .split = i % 2 == 1 ? Split::rows : (last ? Split::whole : Split::columns),
        .input_grain = recipe.feature_grain,
        .output_grain = last ? recipe.vocab_grain : recipe.feature_grain};
    model.blocks.push_back({name, linear, {weight, bias}});
    inputs = outputs;
  }
  return model;
}

}  // namespace meshparity
