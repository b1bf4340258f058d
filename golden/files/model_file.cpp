#include "golden/files/model_file.h"

#include <fmt/format.h>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_config.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/recipe_file.h"
#include "golden/files/vocabulary_text.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Metadata = std::map<std::string, std::string>;

/// transformers want a format of their own, and ours in one place that they pass over.
Metadata gpt2_metadata(const Recipe& recipe, const Corpus& corpus,
                       const std::string& corpus_sha256) {
  const nlohmann::ordered_json ours = {{"contract", contract_of(recipe.model)},
                                       {"recipe", recipe_json(recipe)},
                                       {"vocabulary", hex_of(corpus.bytes())},
                                       {"corpus_sha256", corpus_sha256}};
  return {{"format", "pt"}, {"meshparity", ours.dump()}};
}

Metadata mlp_metadata(const Recipe& recipe, const Corpus& corpus,
                      const std::string& corpus_sha256) {
  return {{"format", "meshparity"},
          {"contract", std::to_string(contract_of(recipe.model))},
          {"recipe", to_text(recipe)},
          {"vocabulary", hex_of(corpus.bytes())},
          {"corpus_sha256", corpus_sha256}};
}

}  // namespace

StoredTensor stored_parameter(const std::string& name, const ParameterSpec& spec,
                              std::vector<float> values) {
  return {name, shape_in_file(spec, WeightLayout::input_output), std::move(values)};
}

TensorFile model_file(const Recipe& recipe, const Corpus& corpus, const std::string& corpus_sha256,
                      std::span<const ParameterSpec> specs,
                      std::vector<std::vector<float>> values) {
  const bool is_gpt2 = recipe.model == ModelKind::gpt2;
  Recipe without_data = recipe;
  without_data.data.clear();
  without_data.validation_data.clear();
  TensorFile file;
  file.metadata = is_gpt2 ? gpt2_metadata(without_data, corpus, corpus_sha256)
                          : mlp_metadata(without_data, corpus, corpus_sha256);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const ParameterSpec& spec = specs[i];
    if (!is_gpt2) {
      file.tensors.push_back(stored_parameter(spec.name, spec, std::move(values[i])));
      continue;
    }
    file.tensors.push_back(stored_parameter(
        hugging_face_name(spec.name, recipe.tied), spec,
        in_file_order(spec, WeightLayout::input_output, recipe.heads, std::move(values[i]))));
  }
  return file;
}

void save_model(const std::string& path, const Recipe& recipe, const Corpus& corpus,
                const std::string& corpus_sha256, std::span<const ParameterSpec> specs,
                std::vector<std::vector<float>> values) {
  save_safetensors(path, model_file(recipe, corpus, corpus_sha256, specs, std::move(values)));
  if (recipe.model != ModelKind::gpt2) return;
  write_file(config_path(path), config_text(recipe, corpus.vocabulary()));
}

void require_saveable(const std::string& path, const Recipe& recipe) {
  require_writable(path);
  if (recipe.model == ModelKind::gpt2) require_config_writable(path);
}

}  // namespace meshparity
