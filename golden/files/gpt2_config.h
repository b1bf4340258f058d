#pragma once

#include <optional>
#include <string>

#include "model/recipe.h"

/// `config.json`, which transformers wants beside a model's safetensors file.
namespace meshparity {

/// Where the config of a model file stands: in the same folder.
std::string config_path(const std::string& model_path);

/// What GPT2LMHeadModel.from_pretrained reads; ends with a line end.
std::string config_text(const Recipe& recipe, std::size_t vocabulary);

/// What a config says of a model. Members it does not have are empty.
struct Gpt2Config {
  std::optional<std::size_t> layers;
  std::optional<std::size_t> heads;
  std::optional<std::size_t> channels;
  std::optional<std::size_t> positions;
  std::optional<std::size_t> vocabulary;
  std::optional<bool> tied;
};

/// `name` stands for the text in errors. Throws UsageError if it is no JSON object, or describes
/// another model than this GPT-2 (another activation, other widths, scaling or epsilon).
Gpt2Config parse_config(const std::string& text, const std::string& name);

/// The config beside a model, if there is one. Throws as `parse_config` and `read_file` do.
std::optional<Gpt2Config> config_beside(const std::string& model_path);

/// Throws UsageError if the place of the config beside a model holds something else, which would be
/// lost.
void require_config_writable(const std::string& model_path);

}  // namespace meshparity
