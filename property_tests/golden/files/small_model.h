#pragma once

#include <string>
#include <vector>

#include "golden/files/model_file.h"
#include "model/corpus.h"
#include "model/model.h"

namespace meshparity {

/// A small model's parameters with values that are easy to tell apart: 1, 2, 3, ... in the order of
/// the model.
struct SmallModel {
  explicit SmallModel(Recipe shape)
      : recipe(std::move(shape)),
        corpus(recipe.model == ModelKind::mlp ? "ab\nba\r\n\xff" : "abc\nba\r\n\xff", 2) {
    recipe.data = "some/where.txt";
    specs = model_of(recipe, corpus.vocabulary()).parameters;
    float next = 0;
    for (const ParameterSpec& spec : specs) {
      std::vector<float>& whole = values.emplace_back();
      for (std::size_t i = 0; i < spec.size(); ++i) whole.push_back(next += 1);
    }
  }

  static SmallModel mlp() {
    Recipe recipe;
    recipe.context = 2;
    recipe.embedding = 3;
    recipe.hidden = 4;
    return SmallModel(recipe);
  }

  /// Two layers of two heads with two features each, three positions.
  static SmallModel gpt2(bool tied) {
    Recipe recipe = default_recipe(ModelKind::gpt2);
    recipe.layers = 2;
    recipe.heads = 2;
    recipe.channels = 4;
    recipe.positions = 3;
    recipe.tied = tied;
    return SmallModel(recipe);
  }

  TensorFile file() const { return model_file(recipe, corpus, "00ff", specs, values); }

  /// As another program would write it: nothing of ours in the metadata.
  TensorFile foreign_file() const {
    TensorFile foreign = file();
    foreign.metadata.erase("meshparity");
    return foreign;
  }

  Recipe recipe;
  Corpus corpus;
  std::vector<ParameterSpec> specs;
  std::vector<std::vector<float>> values;
};

}  // namespace meshparity
