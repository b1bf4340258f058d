#include "golden/files/recipe_file.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "model/error.h"

namespace meshparity {
namespace {

template <auto Member>
RecipeField whole(std::string_view key, std::string_view help) {
  return {key, help, [](const Recipe& recipe) { return std::to_string(recipe.*Member); },
          [](Recipe& recipe, std::string_view text) {
            const std::uint64_t value = parse_whole(text);
            using Field = std::remove_reference_t<decltype(recipe.*Member)>;
            if (value > std::numeric_limits<Field>::max()) {
              throw UsageError(fmt::format("'{}' is too large for this machine", text));
            }
            recipe.*Member = static_cast<Field>(value);
          }};
}

template <auto Member>
RecipeField decimal(std::string_view key, std::string_view help) {
  return {key, help, [](const Recipe& recipe) { return decimal_text(recipe.*Member); },
          [](Recipe& recipe, std::string_view text) {
            recipe.*Member = parse_decimal<std::remove_reference_t<decltype(recipe.*Member)>>(text);
          }};
}

std::string known_keys() {
  std::string keys;
  for (const RecipeField& field : recipe_fields()) {
    keys += keys.empty() ? "" : ", ";
    keys += field.key;
  }
  return keys;
}

/// What CLI11's reader makes of one line. It gets single lines, because it knows no line numbers
/// and joins repeated keys, and other brackets than [ ] for arrays, because a path may begin with
/// one.
CLI::ConfigItem parse_line(const std::string& line) {
  CLI::ConfigBase reader;
  reader.arrayBounds('\x01', '\x02');
  std::istringstream input(line);
  const std::vector<CLI::ConfigItem> items = reader.from_config(input);
  const bool is_pair = line.find('=') < line.find('#') && items.size() == 1 &&
                       items.front().parents.empty() && items.front().inputs.size() == 1;
  if (!is_pair || items.front().name.empty()) {
    throw UsageError(fmt::format("'{}' is not 'key = value'", line),
                     fmt::format("known keys: {}", known_keys()));
  }
  return items.front();
}

bool is_text(const RecipeField& field) { return field.key == "data" || field.key == "model"; }

bool is_written(const RecipeField& field, const Recipe& recipe) {
  return field.always_written || field.text(recipe) != field.text(Recipe());
}

/// `data` as it stands in a line: quoted if the reader would otherwise strip part of it.
std::string data_text(const std::string& data) {
  if (data.find_first_of("#\n\r") != std::string::npos) {
    throw UsageError(fmt::format("data '{}' cannot be written in a recipe", data),
                     "rename the file so that its path holds no '#' and no line end");
  }
  const bool plain = std::all_of(data.begin(), data.end(), [](char byte) {
    return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '.' || byte == '/' ||
           byte == '_' || byte == '-';
  });
  return plain ? data : fmt::format("\"{}\"", data);
}

}  // namespace

const std::vector<RecipeField>& recipe_fields() {
  static const std::vector<RecipeField> fields = {
      {"model", "what is trained: mlp",
       [](const Recipe& recipe) { return std::string(name_of(recipe.model)); },
       [](Recipe& recipe, std::string_view text) { recipe.model = model_named(text); }, false},
      {"data", "corpus: a text file, one document a line",
       [](const Recipe& recipe) { return recipe.data; },
       [](Recipe& recipe, std::string_view text) { recipe.data = text; }},
      whole<&Recipe::context>("context", "tokens the model sees"),
      whole<&Recipe::embedding>("embedding", "width of a token's vector"),
      whole<&Recipe::hidden>("hidden", "width of every hidden layer"),
      whole<&Recipe::layers>("layers", "hidden layers"),
      whole<&Recipe::batch>("batch", "samples in the global batch"),
      decimal<&Recipe::lr>("lr", "step size of SGD"),
      whole<&Recipe::steps>("steps", "training steps"),
      whole<&Recipe::seed>("seed", "of initial parameters, batches and samples"),
      decimal<&Recipe::init_scale>("init-scale",
                                   "parameters start in uniform(-k, k), k = init-scale / fan-in"),
      whole<&Recipe::batch_grain>("batch-grain", "samples per leaf of every sum over the batch"),
      whole<&Recipe::feature_grain>("feature-grain",
                                    "features per leaf of every sum over a layer's features"),
      whole<&Recipe::vocab_grain>("vocab-grain",
                                  "tokens per leaf of every sum over the vocabulary"),
  };
  return fields;
}

void set_recipe_field(Recipe& recipe, std::string_view key, std::string_view value) {
  const auto& fields = recipe_fields();
  const auto field = std::find_if(fields.begin(), fields.end(),
                                  [&](const RecipeField& known) { return known.key == key; });
  if (field == fields.end()) {
    throw UsageError(fmt::format("unknown key '{}': {} has none", key, name_of(recipe.model)),
                     fmt::format("known keys: {}", known_keys()));
  }
  try {
    field->set(recipe, value);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("{}: {}", key, e.what()), e.hint());
  }
}

void apply_recipe_text(Recipe& recipe, const std::string& text, const std::string& name) {
  std::set<std::string> seen;
  std::istringstream lines(text);
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    CLI::detail::trim(line);
    if (line.empty() || line.front() == '#') continue;
    try {
      const CLI::ConfigItem item = parse_line(line);
      if (!seen.insert(item.name).second) {
        throw UsageError(fmt::format("key '{}' is repeated", item.name), "keep one of the lines");
      }
      set_recipe_field(recipe, item.name, item.inputs.front());
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("{}:{}: {}", name, number, e.what()), e.hint());
    }
  }
}

void apply_recipe_file(Recipe& recipe, const std::string& path) {
  const std::string before = std::move(recipe.data);
  recipe.data.clear();
  apply_recipe_text(recipe, read_file(path, "recipe"), path);
  if (recipe.data.empty()) {
    recipe.data = before;
    return;
  }
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  recipe.data = (folder / recipe.data).lexically_normal().string();
}

nlohmann::ordered_json recipe_json(const Recipe& recipe) {
  auto json = nlohmann::ordered_json::object();
  for (const RecipeField& field : recipe_fields()) {
    if (!is_written(field, recipe)) continue;
    const std::string text = field.text(recipe);
    // Read as binary64 and printed again, the shortest text of a binary32 stays the same.
    json[std::string(field.key)] =
        is_text(field) ? nlohmann::ordered_json(text) : nlohmann::ordered_json::parse(text);
  }
  return json;
}

Recipe recipe_of(const nlohmann::ordered_json& json) {
  Recipe recipe;
  if (!json.is_object()) throw UsageError("'recipe' is not an object");
  for (const RecipeField& field : recipe_fields()) {
    if (!json.contains(field.key)) {
      if (!field.always_written) continue;
      throw UsageError(fmt::format("recipe.{} is missing", field.key));
    }
    if (is_text(field) ? !json[field.key].is_string() : !json[field.key].is_number()) {
      throw UsageError(fmt::format("recipe.{} has the wrong type", field.key));
    }
  }
  for (const auto& [key, value] : json.items()) {
    set_recipe_field(recipe, key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return recipe;
}

std::string to_text(const Recipe& recipe) {
  std::string text;
  for (const RecipeField& field : recipe_fields()) {
    const bool is_data = field.key == "data";
    if ((is_data && recipe.data.empty()) || !is_written(field, recipe)) continue;
    text +=
        fmt::format("{} = {}\n", field.key, is_data ? data_text(recipe.data) : field.text(recipe));
  }
  return text;
}

}  // namespace meshparity
