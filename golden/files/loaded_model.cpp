#include "golden/files/loaded_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string_view>

#include "golden/files/checkpoint_header.h"
#include "golden/files/corpus_file.h"
#include "golden/files/file_io.h"
#include "golden/files/gpt2_config.h"
#include "golden/files/little_endian.h"
#include "golden/files/llmc_checkpoint.h"
#include "golden/files/printable.h"
#include "golden/files/recipe_file.h"
#include "golden/files/strict_json.h"
#include "golden/files/vocabulary_text.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr const char* kTokens = "wte.weight";
constexpr const char* kPositions = "wpe.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr std::string_view kPrefix = "transformer.";
constexpr std::string_view kJoinedWeight = ".attn.c_attn.weight";
constexpr const char* kShapeHint =
    "use the recipe that the model was trained with (--recipe, or no shapes)";

/// Constants of the attention mask, which some versions of transformers save, too.
bool is_mask(const std::string& name) {
  return name.starts_with("h.") &&
         (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

bool is_gpt2(const std::vector<TensorEntry>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorEntry& tensor) {
    return tensor.name == kTokens || tensor.name == std::string(kPrefix) + kTokens;
  });
}

bool is_finite(std::uint32_t bits) { return (bits & 0x7f800000U) != 0x7f800000U; }

}  // namespace

LoadedModel::LoadedModel(const std::string& path) : path_(path), bytes_(read_file(path, "model")) {
  if (is_llmc_checkpoint(path, bytes_)) {
    read_llmc();
  } else {
    read_safetensors();
  }
}

void LoadedModel::read_llmc() {
  LlmcCheckpoint checkpoint = parse_llmc_checkpoint(bytes_, path_);
  for (TensorEntry& tensor : checkpoint.index.tensors) {
    std::string name = tensor.name;
    tensors_.emplace(std::move(name), std::move(tensor));
  }
  layout_ = WeightLayout::output_input;
  recipe_ = checkpoint.recipe;
  tokens_ = recipe_.vocabulary = checkpoint.vocabulary;
}

void LoadedModel::read_safetensors() {
  TensorIndex index = index_safetensors(bytes_, path_);
  std::erase_if(index.tensors, [](const TensorEntry& entry) { return is_moment(entry.name); });
  if (is_gpt2(index.tensors)) {
    take_gpt2_tensors(std::move(index.tensors));
  } else {
    for (TensorEntry& tensor : index.tensors) {
      std::string name = tensor.name;
      tensors_.emplace(std::move(name), std::move(tensor));
    }
  }
  try {
    read_metadata(index.metadata);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("model '{}' has damaged metadata: {}", path_, e.what()),
                     "give a whole file written by meshparity-train --save");
  }
  if (tokens_ > 0 && !has_recipe_) take_config();
}

void LoadedModel::read_metadata(const std::map<std::string, std::string>& metadata) {
  const auto text = [&](const std::string& key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  std::string vocabulary;
  if (text("format") == "meshparity") {
    apply_recipe_text(recipe_, text("recipe"), "recipe");
    vocabulary = text("vocabulary");
    corpus_sha256_ = text("corpus_sha256");
  } else if (metadata.contains("meshparity")) {
    const nlohmann::ordered_json ours = parse_strict_json(text("meshparity"));
    if (!ours.is_object() || !ours.contains("recipe")) throw UsageError("'recipe' is missing");
    recipe_ = recipe_of(ours["recipe"]);
    vocabulary = string_member(ours, "vocabulary");
    corpus_sha256_ = string_member(ours, "corpus_sha256");
  } else {
    return;
  }
  // Numbered tokens have no bytes.
  if (recipe_.form != DataForm::tokens) {
    vocabulary_ = vocabulary_bytes(vocabulary, recipe_.form == DataForm::lines);
  }
  has_recipe_ = true;
  // What is read is the user's choice, never a file's.
  for (const std::string& named : {recipe_.data, recipe_.validation_data}) {
    if (!named.empty()) throw UsageError(fmt::format("it names a file, '{}'", printable(named)));
  }
}

void LoadedModel::take_gpt2_tensors(std::vector<TensorEntry> tensors) {
  for (TensorEntry& tensor : tensors) {
    std::string name = tensor.name;
    if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
    if (is_mask(name)) continue;
    if (name.ends_with(kJoinedWeight) && tensor.shape.size() == 2 &&
        tensor.shape[0] == 3 * tensor.shape[1]) {
      layout_ = WeightLayout::output_input;
    }
    const std::string file_name = tensor.name;
    if (!tensors_.emplace(std::move(name), std::move(tensor)).second) {
      throw UsageError(fmt::format("model '{}' has tensor '{}' with and without 'transformer.'",
                                   path_, printable(file_name)),
                       "give a file that holds one model");
    }
  }
  take_gpt2_shape();
}

void LoadedModel::take_gpt2_shape() {
  for (const char* name : {kTokens, kPositions}) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw UsageError(fmt::format("model '{}' has no tensor '{}'", path_, name), kShapeHint);
    }
    if (found->second.shape.size() != 2) {
      throw UsageError(fmt::format("model '{}': tensor '{}' is {}, which is no matrix", path_, name,
                                   printable(shape_text(found->second.shape))),
                       kShapeHint);
    }
  }
  recipe_ = default_recipe(ModelKind::gpt2);
  tokens_ = recipe_.vocabulary = tensors_.at(kTokens).shape[0];
  recipe_.channels = tensors_.at(kTokens).shape[1];
  recipe_.positions = tensors_.at(kPositions).shape[0];
  recipe_.layers = static_cast<std::size_t>(
      std::count_if(tensors_.begin(), tensors_.end(),
                    [](const auto& item) { return item.first.ends_with(kJoinedWeight); }));
  recipe_.heads = 0;
  const auto head = tensors_.find(kHead);
  recipe_.tied = head == tensors_.end() || same_bytes(head->second, tensors_.at(kTokens));
}

void LoadedModel::take_config() {
  const std::optional<Gpt2Config> config = config_beside(path_);
  if (!config) return;
  const auto require = [&](const char* field, std::optional<std::size_t> said, std::size_t found) {
    if (!said || *said == found) return;
    throw UsageError(fmt::format("'{}' says {} {}, the tensors of '{}' have {}", config_path(path_),
                                 field, *said, path_, found),
                     "give the config.json that belongs to the model");
  };
  require("n_layer", config->layers, recipe_.layers);
  require("n_embd", config->channels, recipe_.channels);
  require("n_positions", config->positions, recipe_.positions);
  require("vocab_size", config->vocabulary, tokens_);
  recipe_.heads = config->heads.value_or(0);
  recipe_.tied = config->tied.value_or(recipe_.tied);
}

bool LoadedModel::same_bytes(const TensorEntry& a, const TensorEntry& b) const {
  const std::string_view bytes = bytes_;
  return a.shape == b.shape && a.dtype == b.dtype &&
         bytes.substr(a.begin, a.end - a.begin) == bytes.substr(b.begin, b.end - b.begin);
}

Corpus LoadedModel::vocabulary_corpus(const Recipe& recipe) const {
  return meshparity::vocabulary_corpus(recipe, vocabulary_);
}

void LoadedModel::require_vocabulary(const Corpus& corpus) const {
  const std::string theirs = corpus.bytes();
  if (!has_recipe() || theirs == vocabulary_) return;
  throw UsageError(
      fmt::format("model '{}' knows {} characters, the corpus has {} and they are not the same",
                  path_, vocabulary_.size(), theirs.size()),
      "use the corpus that the model was trained on");
}

void LoadedModel::require_same(const char* field, std::size_t found, std::size_t wanted) const {
  if (found == wanted) return;
  throw UsageError(fmt::format("model '{}' has {} {}, the flags or the recipe file say {}", path_,
                               field, found, wanted),
                   fmt::format("leave out --{}, or load another model", field));
}

void LoadedModel::require_tied_head() {
  const auto head = tensors_.find(kHead);
  if (head == tensors_.end()) return;
  if (!same_bytes(head->second, tensors_.at(kTokens))) {
    throw UsageError(fmt::format("model '{}': tensor '{}' is not the same as '{}', but the head is "
                                 "tied to it",
                                 path_, kHead, kTokens),
                     "--tied false");
  }
  tensors_.erase(head);
}

void LoadedModel::fit(const Recipe& recipe) {
  if (recipe.model == ModelKind::gpt2 && tokens_ == 0) {
    throw UsageError(fmt::format("model '{}' is no GPT-2: it has no tensor '{}'", path_, kTokens),
                     "leave out --model gpt2, or load another model");
  }
  if (recipe.model != recipe_.model) {
    throw UsageError(fmt::format("model '{}' is {}, the flags or the recipe file say {}", path_,
                                 name_of(recipe_.model), name_of(recipe.model)),
                     fmt::format("--model {}, or load another model", name_of(recipe_.model)));
  }
  if (recipe.layers > tensors_.size()) {
    throw UsageError(fmt::format("model '{}' has {} tensors, too few for {} layers", path_,
                                 tensors_.size(), recipe.layers),
                     kShapeHint);
  }
  if (recipe.model != ModelKind::gpt2) return;
  require_same("layers", recipe_.layers, recipe.layers);
  require_same("channels", recipe_.channels, recipe.channels);
  require_same("positions", recipe_.positions, recipe.positions);
  if (recipe.heads == 0) {
    throw UsageError(fmt::format("model '{}' does not say its number of heads, and there is no "
                                 "config.json with n_head beside it",
                                 path_),
                     "--heads N");
  }
  if (recipe_.heads != 0) require_same("heads", recipe_.heads, recipe.heads);
  if (recipe.channels % recipe.heads != 0) {
    throw UsageError(fmt::format("heads {} do not divide the {} channels of model '{}'",
                                 recipe.heads, recipe.channels, path_),
                     "--heads with a divisor");
  }
  recipe_.heads = recipe.heads;
  if (recipe.tied) require_tied_head();
}

void LoadedModel::require_parameters(std::span<const ParameterSpec> specs) const {
  std::set<std::string> known;
  for (const ParameterSpec& spec : specs) {
    require_tensor(spec);
    known.insert(file_name_of(spec.name));
  }
  for (const auto& [name, tensor] : tensors_) {
    if (known.contains(name)) continue;
    throw UsageError(fmt::format("model '{}' has a tensor '{}' {}, the recipe has none", path_,
                                 printable(tensor.name), printable(shape_text(tensor.shape))),
                     kShapeHint);
  }
  for (const ParameterSpec& spec : specs) require_finite(tensors_.at(file_name_of(spec.name)));
}

void LoadedModel::require_tensor(const ParameterSpec& spec) const {
  const std::string name = file_name_of(spec.name);
  const std::vector<std::size_t> shape = shape_in_file(spec, layout_);
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw UsageError(
        fmt::format("model '{}' has no tensor '{}' {}", path_, name, shape_text(shape)),
        kShapeHint);
  }
  const TensorEntry& tensor = found->second;
  if (tensor.shape != shape) {
    throw UsageError(
        fmt::format("model '{}': tensor '{}' is {}, the recipe needs {}", path_, tensor.name,
                    printable(shape_text(tensor.shape)), shape_text(shape)),
        kShapeHint);
  }
  if (tensor.dtype != "F32") {
    throw UsageError(fmt::format("model '{}': tensor '{}' is {}, but parameters are F32", path_,
                                 tensor.name, tensor.dtype),
                     "convert the file to float32");
  }
}

void LoadedModel::require_finite(const TensorEntry& tensor) const {
  for (std::size_t at = tensor.begin; at < tensor.end; at += sizeof(float)) {
    if (is_finite(little_endian_at<std::uint32_t>(bytes_, at))) continue;
    throw UsageError(
        fmt::format("model '{}': tensor '{}' {} is {}, which is no number to go on from", path_,
                    tensor.name, index_text(tensor.shape, (at - tensor.begin) / sizeof(float)),
                    float_at(bytes_, at)),
        "load a model whose values are all finite");
  }
}

void LoadedModel::fill(const Shard& shard, std::span<float> values) const {
  if (is_joined(shard.spec.name) && recipe_.heads == 0) {
    throw std::logic_error("a model was read before `fit` was told its heads");
  }
  const FileOrder order(shard.spec, layout_, recipe_.heads);
  const std::size_t begin = tensors_.at(file_name_of(shard.spec.name)).begin;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = float_at(bytes_, begin + sizeof(float) * order.index(shard.global_index(i)));
  }
}

}  // namespace meshparity
