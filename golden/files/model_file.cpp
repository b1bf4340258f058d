#include "golden/files/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "golden/files/recipe_file.h"
#include "golden/files/trace_file.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr const char* kFormat = "meshparity";

std::vector<std::size_t> shape_of(const ParameterSpec& spec) {
  if (spec.is_vector) return {spec.columns};
  return {spec.rows, spec.columns};
}

std::string vocabulary_of(const Corpus& corpus) {
  std::string bytes;
  for (std::size_t token = 1; token < corpus.vocabulary(); ++token) {
    bytes.push_back(corpus.byte_of(static_cast<Token>(token)));
  }
  return bytes;
}

std::string hex_of(const std::string& bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

/// The bytes of a vocabulary, which ascend and hold no line end. Throws UsageError.
std::string bytes_of(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned int byte = 0;
    std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
    bytes.push_back(static_cast<char>(byte));
  }
  const auto unsigned_less = [](char a, char b) {
    return static_cast<unsigned char>(a) < static_cast<unsigned char>(b);
  };
  const bool ascends = std::is_sorted(bytes.begin(), bytes.end(), unsigned_less) &&
                       std::adjacent_find(bytes.begin(), bytes.end()) == bytes.end();
  if (bytes.empty() || hex_of(bytes) != hex || !ascends || bytes.find('\n') != std::string::npos) {
    throw UsageError(fmt::format("vocabulary '{}' is damaged", hex));
  }
  return bytes;
}

}  // namespace

StoredTensor stored_parameter(const std::string& name, const ParameterSpec& spec,
                              std::vector<float> values) {
  return {name, shape_of(spec), std::move(values)};
}

TensorFile model_file(const Recipe& recipe, const Corpus& corpus, const std::string& corpus_sha256,
                      std::span<const ParameterSpec> specs,
                      std::vector<std::vector<float>> values) {
  Recipe without_data = recipe;
  without_data.data.clear();
  TensorFile file;
  file.metadata = {{"format", kFormat},
                   {"contract", std::to_string(contract_of(recipe.model))},
                   {"recipe", to_text(without_data)},
                   {"vocabulary", hex_of(vocabulary_of(corpus))},
                   {"corpus_sha256", corpus_sha256}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    file.tensors.push_back(stored_parameter(specs[i].name, specs[i], std::move(values[i])));
  }
  return file;
}

LoadedModel::LoadedModel(const std::string& path) : path_(path) {
  TensorFile file = load_safetensors(path);
  for (StoredTensor& tensor : file.tensors) {
    std::string name = tensor.name;
    tensors_.emplace(std::move(name), std::move(tensor));
  }
  const auto format = file.metadata.find("format");
  if (format == file.metadata.end() || format->second != kFormat) return;
  try {
    apply_recipe_text(recipe_, file.metadata["recipe"], "recipe");
    vocabulary_ = bytes_of(file.metadata["vocabulary"]);
    corpus_sha256_ = file.metadata["corpus_sha256"];
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("model '{}' has damaged metadata: {}", path, e.what()),
                     "give a whole file written by meshparity-train --save");
  }
}

Corpus LoadedModel::vocabulary_corpus(std::size_t context) const {
  // One byte more: a carriage return at the end would be taken for part of a line end.
  return Corpus(vocabulary_ + vocabulary_.front(), context);
}

void LoadedModel::require_vocabulary(const Corpus& corpus) const {
  const std::string theirs = vocabulary_of(corpus);
  if (!has_recipe() || theirs == vocabulary_) return;
  throw UsageError(
      fmt::format("model '{}' knows {} characters, the corpus has {} and they are not the same",
                  path_, vocabulary_.size(), theirs.size()),
      "use the corpus that the model was trained on");
}

void LoadedModel::require_parameters(std::span<const ParameterSpec> specs) const {
  const std::string hint =
      "use the recipe that the model was trained with (--recipe, or no shapes)";
  for (const ParameterSpec& spec : specs) {
    const auto found = tensors_.find(spec.name);
    if (found == tensors_.end()) {
      throw UsageError(fmt::format("model '{}' has no tensor '{}' {}", path_, spec.name,
                                   shape_text(shape_of(spec))),
                       hint);
    }
    const StoredTensor& tensor = found->second;
    if (tensor.shape != shape_of(spec)) {
      throw UsageError(fmt::format("model '{}': tensor '{}' is {}, the recipe needs {}", path_,
                                   spec.name, shape_text(tensor.shape), shape_text(shape_of(spec))),
                       hint);
    }
    if (!std::holds_alternative<std::vector<float>>(tensor.values)) {
      throw UsageError(fmt::format("model '{}': tensor '{}' is not F32", path_, spec.name), hint);
    }
  }
  for (const auto& item : tensors_) {
    const StoredTensor& tensor = item.second;
    const bool known = std::any_of(specs.begin(), specs.end(), [&](const ParameterSpec& spec) {
      return spec.name == tensor.name;
    });
    if (!known) {
      throw UsageError(fmt::format("model '{}' has a tensor '{}' {}, the recipe has none", path_,
                                   tensor.name, shape_text(tensor.shape)),
                       hint);
    }
  }
}

void LoadedModel::fill(const Shard& shard, std::span<float> values) const {
  const auto& whole = std::get<std::vector<float>>(tensors_.at(shard.spec.name).values);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = whole[shard.global_index(i)];
}

}  // namespace meshparity
