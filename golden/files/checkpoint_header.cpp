#include "golden/files/checkpoint_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include "golden/files/corpus_file.h"
#include "golden/files/file_io.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/sha256.h"
#include "golden/files/strict_json.h"
#include "golden/files/vocabulary_text.h"
#include "model/error.h"
#include "model/model.h"

namespace meshparity {
namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::array<std::string_view, 3> kPrefixes = {"", "exp_avg/", "exp_avg_sq/"};
constexpr std::string_view kStem = "step-";
constexpr std::string_view kExtension = ".safetensors";
constexpr std::string_view kPartial = ".partial";

/// The step that a name says, if it is a checkpoint's.
std::optional<std::size_t> step_of(std::string_view name) {
  if (!name.starts_with(kStem)) return std::nullopt;
  name.remove_prefix(kStem.size());
  if (name.ends_with(kExtension)) name.remove_suffix(kExtension.size());
  std::size_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

nlohmann::ordered_json fields_of(const CheckpointHeader& header) {
  return {{"checkpoint", kVersion},
          {"step", header.step},
          {"digest", digest_text(header.digest)},
          {"contract", header.contract},
          {"recipe", recipe_json(header.recipe)},
          {"vocabulary", hex_of(header.vocabulary)},
          {"corpus_sha256", header.corpus_sha256}};
}

std::string check_of(const CheckpointHeader& header) {
  return sha256(fields_of(header).dump()).substr(0, 16);
}

}  // namespace

std::string_view prefix_of(StatePart part) { return kPrefixes[static_cast<std::size_t>(part)]; }

bool is_moment(std::string_view tensor) {
  return tensor.starts_with(prefix_of(StatePart::first_moments)) ||
         tensor.starts_with(prefix_of(StatePart::second_moments));
}

std::vector<StatePart> CheckpointHeader::parts() const {
  if (recipe.optimizer == OptimizerKind::sgd) return {StatePart::parameters};
  return {StatePart::parameters, StatePart::first_moments, StatePart::second_moments};
}

std::vector<ParameterSpec> CheckpointHeader::specs() const {
  return model_of(recipe, vocabulary_corpus(recipe, vocabulary).vocabulary()).parameters;
}

std::string CheckpointHeader::run() const {
  CheckpointHeader any = *this;
  any.step = 0;
  any.digest = 0;
  return check_of(any);
}

CheckpointHeader checkpoint_header(const Recipe& recipe, const Corpus& corpus,
                                   const std::string& corpus_sha256) {
  CheckpointHeader header;
  header.contract = contract_of(recipe.model);
  header.recipe = recipe;
  header.recipe.data.clear();
  header.recipe.validation_data.clear();
  header.vocabulary = corpus.bytes();
  header.corpus_sha256 = corpus_sha256;
  return header;
}

nlohmann::ordered_json json_of(const CheckpointHeader& header) {
  nlohmann::ordered_json json = fields_of(header);
  json["check"] = check_of(header);
  return json;
}

CheckpointHeader checkpoint_header_of(const nlohmann::ordered_json& json) {
  const std::uint64_t version = whole_member(json, "checkpoint");
  if (version != kVersion) {
    throw UsageError(fmt::format("checkpoint version {} is not the known {}", version, kVersion));
  }
  CheckpointHeader header;
  header.step = whole_member(json, "step");
  header.digest = parse_digest(string_member(json, "digest"));
  header.contract = whole_member(json, "contract");
  if (!json.contains("recipe")) throw UsageError("'recipe' is missing");
  header.recipe = recipe_of(json["recipe"]);
  if (header.contract != contract_of(header.recipe.model)) {
    throw UsageError(fmt::format("it was made by version {} of the contract, this is version {}",
                                 header.contract, contract_of(header.recipe.model)));
  }
  // Numbered tokens have no bytes.
  if (header.recipe.form != DataForm::tokens) {
    header.vocabulary =
        vocabulary_bytes(string_member(json, "vocabulary"), header.recipe.form == DataForm::lines);
  }
  header.corpus_sha256 = string_member(json, "corpus_sha256");
  if (check_of(header) != string_member(json, "check")) {
    throw UsageError("its header is damaged: 'check' does not fit the rest");
  }
  if (!header.recipe.data.empty() || !header.recipe.validation_data.empty()) {
    throw UsageError("it names a file of data");
  }
  if (header.step > header.recipe.steps) {
    throw UsageError(
        fmt::format("it is of step {}, the recipe has {}", header.step, header.recipe.steps));
  }
  validate(header.recipe, vocabulary_corpus(header.recipe, header.vocabulary).vocabulary());
  return header;
}

std::string checkpoint_name(std::size_t step, CheckpointLayout layout) {
  return fmt::format("{}{:08}{}", kStem, step,
                     layout == CheckpointLayout::gathered ? kExtension : "");
}

std::string partial_name(std::size_t step, CheckpointLayout layout) {
  return fmt::format(".{}{}", checkpoint_name(step, layout), kPartial);
}

bool is_partial_name(const std::string& name) {
  const std::string_view text = name;
  if (!text.starts_with('.') || !text.ends_with(kPartial)) return false;
  return step_of(text.substr(1, text.size() - 1 - kPartial.size())).has_value();
}

std::vector<StoredCheckpoint> checkpoints_in(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<StoredCheckpoint> found;
  std::error_code error;
  if (fs::status(folder, error).type() == fs::file_type::not_found) return found;
  for (const std::string& name : read_folder(folder)) {
    const auto step = step_of(name);
    if (step) found.push_back({*step, (fs::path(folder) / name).string()});
  }
  std::ranges::sort(found, [](const StoredCheckpoint& a, const StoredCheckpoint& b) {
    return a.step != b.step ? a.step < b.step : a.path < b.path;
  });
  return found;
}

std::string name_in_file(const Recipe& recipe, const ParameterSpec& spec) {
  return recipe.model == ModelKind::gpt2 ? hugging_face_name(spec.name, recipe.tied) : spec.name;
}

TensorIndex gathered_index(const CheckpointHeader& header) {
  TensorIndex index;
  index.metadata = {{"format", "pt"}, {"meshparity", json_of(header).dump()}};
  std::size_t begin = 0;
  const std::vector<ParameterSpec> specs = header.specs();
  for (const StatePart part : header.parts()) {
    for (const ParameterSpec& spec : specs) {
      const std::size_t end = begin + spec.size() * sizeof(float);
      index.tensors.push_back({std::string(prefix_of(part)) + name_in_file(header.recipe, spec),
                               "F32", shape_in_file(spec, WeightLayout::input_output), begin, end});
      begin = end;
    }
  }
  return index;
}

std::string piece_name(std::size_t rank) { return fmt::format("rank-{}{}", rank, kExtension); }

void require_same_run(const CheckpointHeader& checkpoint, const std::string& path,
                      const Recipe& recipe, const std::string& corpus_sha256) {
  const auto refuse = [&](std::string_view what, const std::string& theirs,
                          const std::string& ours) {
    throw UsageError(fmt::format("checkpoint '{}' is of another run: its {} is {}, here it is {}",
                                 path, what, theirs, ours),
                     "go on with the recipe and the data that it was made with");
  };
  for (const RecipeField& field : recipe_fields()) {
    if (field.key == "data" || field.key == "validation-data") continue;
    if (!field.belongs_to(checkpoint.recipe.model)) continue;
    const std::string theirs = field.text(checkpoint.recipe);
    const std::string ours = field.text(recipe);
    if (theirs != ours) refuse(field.key, theirs, ours);
  }
  if (checkpoint.corpus_sha256 != corpus_sha256) {
    refuse("data's SHA-256", checkpoint.corpus_sha256, corpus_sha256);
  }
}

}  // namespace meshparity
