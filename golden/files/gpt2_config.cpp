#include "golden/files/gpt2_config.h"

#include <fmt/format.h>

#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/files/strict_json.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kGpt2Vocabulary = 50257;
constexpr double kEpsilon = 1e-5;  // of every layer norm

/// The token that stands between documents, if the data has one.
Json boundary_token(const Recipe& recipe, std::size_t vocabulary) {
  if (recipe.form == DataForm::lines) return 0;
  if (recipe.form == DataForm::tokens && vocabulary == kGpt2Vocabulary) return kGpt2Vocabulary - 1;
  return nullptr;
}

std::optional<std::size_t> size_in(const Json& config, const std::string& key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  return whole_member(config, key);
}

/// Refuses a member that is there and has another value than this model.
void require_value(const Json& config, const std::string& key, const Json& wanted) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null() || *found == wanted) return;
  throw UsageError(
      fmt::format("{} is {}, this model has {}", key, printable(found->dump()), wanted.dump()));
}

Gpt2Config parse(const std::string& text) {
  const Json config = parse_strict_json(text);
  if (!config.is_object()) throw UsageError("it is no JSON object");
  if (string_member(config, "model_type") != "gpt2") {
    throw UsageError(fmt::format("model_type is '{}', not 'gpt2'",
                                 printable(string_member(config, "model_type"))));
  }
  const auto activation = config.find("activation_function");
  if (activation != config.end() && *activation != "gelu_pytorch_tanh") {  // another name for it
    require_value(config, "activation_function", "gelu_new");
  }
  require_value(config, "layer_norm_epsilon", kEpsilon);
  require_value(config, "scale_attn_weights", true);
  require_value(config, "scale_attn_by_inverse_layer_idx", false);
  Gpt2Config read;
  read.layers = size_in(config, "n_layer");
  read.heads = size_in(config, "n_head");
  read.channels = size_in(config, "n_embd");
  read.positions = size_in(config, "n_positions");
  read.vocabulary = size_in(config, "vocab_size");
  if (read.channels) require_value(config, "n_inner", 4 * *read.channels);
  const auto tied = config.find("tie_word_embeddings");
  if (tied != config.end() && tied->is_boolean()) read.tied = tied->get<bool>();
  return read;
}

}  // namespace

std::string config_path(const std::string& model_path) {
  return (std::filesystem::path(model_path).parent_path() / "config.json").string();
}

std::string config_text(const Recipe& recipe, std::size_t vocabulary) {
  const Json boundary = boundary_token(recipe, vocabulary);
  const Json config = {{"activation_function", "gelu_new"},
                       {"architectures", Json::array({"GPT2LMHeadModel"})},
                       {"attn_pdrop", recipe.dropout},
                       {"bos_token_id", boundary},
                       {"embd_pdrop", recipe.dropout},
                       {"eos_token_id", boundary},
                       {"initializer_range", 0.02},
                       {"layer_norm_epsilon", kEpsilon},
                       {"model_type", "gpt2"},
                       {"n_embd", recipe.channels},
                       {"n_head", recipe.heads},
                       {"n_inner", nullptr},
                       {"n_layer", recipe.layers},
                       {"n_positions", recipe.positions},
                       {"reorder_and_upcast_attn", false},
                       {"resid_pdrop", recipe.dropout},
                       {"scale_attn_by_inverse_layer_idx", false},
                       {"scale_attn_weights", true},
                       {"tie_word_embeddings", recipe.tied},
                       {"torch_dtype", "float32"},
                       {"use_cache", true},
                       {"vocab_size", vocabulary}};
  return config.dump(2) + "\n";
}

Gpt2Config parse_config(const std::string& text, const std::string& name) {
  try {
    return parse(text);
  } catch (const UsageError& e) {
    throw UsageError(
        fmt::format("'{}' is not the config of a GPT-2 that can be loaded: {}", name, e.what()),
        "give the config.json that belongs to the model, or none with --heads");
  }
}

std::optional<Gpt2Config> config_beside(const std::string& model_path) {
  const std::string path = config_path(model_path);
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return {};
  return parse_config(read_file(path, "config"), path);
}

void require_config_writable(const std::string& model_path) {
  const std::string path = config_path(model_path);
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    try {
      config_beside(model_path);
    } catch (const UsageError&) {
      throw UsageError(
          fmt::format("'{}' would be overwritten: a saved GPT-2 has its config there, and this is "
                      "something else",
                      path),
          "save into another folder");
    }
  }
  require_writable(path);
}

}  // namespace meshparity
