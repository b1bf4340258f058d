#include "golden/files/recipe_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/files/plain_text.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr auto kMlp = ModelKind::mlp;
constexpr auto kGpt2 = ModelKind::gpt2;
using Type = RecipeField::Type;

template <auto Member>
RecipeField whole(std::string_view key, std::string_view help) {
  return {key, help, Type::number,
          [](const Recipe& recipe) { return std::to_string(recipe.*Member); },
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
  return {key, help, Type::number,
          [](const Recipe& recipe) { return decimal_text(recipe.*Member); },
          [](Recipe& recipe, std::string_view text) {
            parse_decimal<float>(text);  // what is used is rounded to it
            recipe.*Member = parse_decimal<std::remove_reference_t<decltype(recipe.*Member)>>(text);
          }};
}

template <auto Member>
RecipeField path(std::string_view key, std::string_view help) {
  return {key, help, Type::text, [](const Recipe& recipe) { return recipe.*Member; },
          [](Recipe& recipe, std::string_view text) { recipe.*Member = text; }};
}

template <auto Member>
RecipeField boolean(std::string_view key, std::string_view help) {
  return {key, help, Type::boolean,
          [](const Recipe& recipe) { return std::string(recipe.*Member ? "true" : "false"); },
          [](Recipe& recipe, std::string_view text) {
            if (text != "true" && text != "false") {
              throw UsageError(fmt::format("'{}' is neither true nor false", text),
                               "give true or false");
            }
            recipe.*Member = text == "true";
          }};
}

// The names of a choice's values, in their order.
constexpr std::array<std::string_view, 3> kForms{"lines", "text", "tokens"};
constexpr std::array<std::string_view, 2> kOrders{"random", "sequential"};
constexpr std::array<std::string_view, 2> kOptimizers{"sgd", "adamw"};
constexpr std::array<std::string_view, 4> kDecays{"constant", "linear", "cosine", "wsd"};

template <auto Member, const auto& Names>
RecipeField choice(std::string_view key, std::string_view help) {
  return {key, help, Type::text,
          [](const Recipe& recipe) {
            return std::string(Names[static_cast<std::size_t>(recipe.*Member)]);
          },
          [](Recipe& recipe, std::string_view text) {
            const auto found = std::find(Names.begin(), Names.end(), text);
            if (found == Names.end()) {
              throw UsageError(fmt::format("'{}' is unknown", text),
                               fmt::format("give {}", fmt::join(Names, " or ")));
            }
            recipe.*Member = static_cast<std::remove_reference_t<decltype(recipe.*Member)>>(
                found - Names.begin());
          }};
}

RecipeField only(ModelKind model, RecipeField field) {
  field.only = model;
  return field;
}

RecipeField younger(RecipeField field) {
  field.always_written = false;
  return field;
}

void set_model(Recipe& recipe, std::string_view name) {
  const ModelKind model = model_named(name);
  if (model == recipe.model) return;
  const std::string data = recipe.data;
  recipe = default_recipe(model);
  recipe.data = data;
}

std::string known_keys(ModelKind model) {
  std::string keys;
  for (const RecipeField& field : recipe_fields()) {
    if (!field.belongs_to(model)) continue;
    keys += keys.empty() ? "" : ", ";
    keys += field.key;
  }
  return keys;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

/// A line without its comment as key and value. Quotes around a value keep its spaces; nothing
/// inside them has another meaning, so a value may hold quotes, too.
std::pair<std::string_view, std::string_view> key_and_value(std::string_view line) {
  constexpr std::string_view kOfKeys =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
  const std::size_t equals = std::min(line.find('='), line.size());
  const std::string_view key = trimmed(line.substr(0, equals));
  std::string_view value = trimmed(line.substr(equals));
  bool is_pair =
      !value.empty() && !key.empty() && key.find_first_not_of(kOfKeys) == std::string_view::npos;
  if (is_pair) value = trimmed(value.substr(1));
  if (!value.empty() && (value.front() == '"' || value.front() == '\'')) {
    is_pair &= value.size() > 1 && value.front() == value.back();
    if (is_pair) value = value.substr(1, value.size() - 2);
  }
  if (!is_pair) {
    throw UsageError(fmt::format("'{}' is not 'key = value'", line),
                     "write lines such as lr = 0.1");
  }
  return {key, value};
}

bool is_written(const RecipeField& field, const Recipe& recipe) {
  if (!field.belongs_to(recipe.model)) return false;
  return field.always_written || recipe.model != ModelKind::mlp ||
         field.text(recipe) != field.text(Recipe());
}

bool has_type(const nlohmann::ordered_json& value, Type type) {
  if (type == Type::text) return value.is_string();
  return type == Type::boolean ? value.is_boolean() : value.is_number();
}

bool is_path(std::string_view key) { return key == "data" || key == "validation-data"; }

/// A path as it stands in a line: quoted if the reader would otherwise strip part of it.
std::string path_text(std::string_view key, const std::string& data) {
  if (data.find_first_of("#\n\r") != std::string::npos) {
    throw UsageError(fmt::format("{} '{}' cannot be written in a recipe", key, data),
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
      younger({"model", "what is trained: mlp or gpt2", Type::text,
               [](const Recipe& recipe) { return std::string(name_of(recipe.model)); }, set_model}),
      path<&Recipe::data>("data",
                          "corpus: a text, or token files (x.bin, or 'shards/train_*.bin')"),
      only(kGpt2, path<&Recipe::validation_data>("validation-data",
                                                 "token files to validate on, likewise")),
      only(kGpt2, choice<&Recipe::form, kForms>("form",
                                                "of the corpus: lines (one document a line), text "
                                                "(one stream of bytes) or tokens (llm.c's files; "
                                                "for a path that ends in .bin)")),
      only(kGpt2, choice<&Recipe::order, kOrders>("order",
                                                  "of the samples: random, or sequential (for "
                                                  "token files)")),
      only(kGpt2, boolean<&Recipe::all_bytes>("all-bytes",
                                              "the vocabulary of a text is all 256 bytes, not "
                                              "only those that occur")),
      only(kGpt2, whole<&Recipe::vocabulary>("vocabulary", "tokens that token files may hold")),
      only(kMlp, whole<&Recipe::context>("context", "tokens the model sees")),
      only(kMlp, whole<&Recipe::embedding>("embedding", "width of a token's vector")),
      only(kMlp, whole<&Recipe::hidden>("hidden", "width of every hidden layer")),
      whole<&Recipe::layers>("layers", "hidden layers, or transformer layers"),
      only(kGpt2, whole<&Recipe::heads>("heads", "of attention, in each layer")),
      only(kGpt2, whole<&Recipe::channels>("channels", "width of the residual stream")),
      only(kGpt2, whole<&Recipe::positions>("positions", "tokens the model can see")),
      only(kGpt2,
           whole<&Recipe::sequence>("sequence", "positions of a sample; 0: all that there are")),
      only(kGpt2, boolean<&Recipe::tied>("tied", "the output's weight is the token embedding")),
      only(kGpt2,
           decimal<&Recipe::dropout>("dropout", "probability that an activation is dropped")),
      whole<&Recipe::batch>("batch", "samples in the global batch"),
      decimal<&Recipe::lr>("lr", "the largest step size"),
      whole<&Recipe::steps>("steps", "training steps"),
      whole<&Recipe::seed>("seed", "of initial parameters, batches, dropout and samples"),
      younger(choice<&Recipe::optimizer, kOptimizers>("optimizer", "sgd or adamw")),
      younger(whole<&Recipe::warmup>("warmup", "steps over which the step size rises")),
      younger(choice<&Recipe::decay, kDecays>(
          "decay", "of the step size: constant, linear, cosine or wsd (in the last tenth)")),
      younger(decimal<&Recipe::min_lr>("min-lr", "step size that the decay ends at")),
      younger(decimal<&Recipe::beta1>("beta1", "AdamW: what a step keeps of the mean gradient")),
      younger(decimal<&Recipe::beta2>("beta2", "AdamW: what a step keeps of the mean square")),
      younger(decimal<&Recipe::epsilon>("eps", "AdamW: added to the root of the mean square")),
      younger(decimal<&Recipe::weight_decay>("weight-decay", "AdamW: of matrices, decoupled")),
      younger(decimal<&Recipe::clip>("clip", "largest norm of the gradient; 0: any")),
      only(kMlp, decimal<&Recipe::init_scale>(
                     "init-scale", "parameters start in uniform(-k, k), k = init-scale / fan-in")),
      whole<&Recipe::batch_grain>("batch-grain", "samples per leaf of every sum over the batch"),
      only(kGpt2, whole<&Recipe::sequence_leaves>("sequence-leaves",
                                                  "leaves of a sample: a power of two")),
      whole<&Recipe::feature_grain>("feature-grain",
                                    "features per leaf of every sum over a layer's features"),
      whole<&Recipe::vocab_grain>("vocab-grain",
                                  "tokens per leaf of every sum over the vocabulary"),
      only(kGpt2, whole<&Recipe::channel_grain>(
                      "channel-grain", "channels per leaf of every sum over channels; 0: all")),
      only(kGpt2,
           whole<&Recipe::head_grain>("head-grain", "heads per leaf of every sum over heads")),
  };
  return fields;
}

const RecipeField* recipe_field(std::string_view key) {
  const auto& fields = recipe_fields();
  const auto field = std::find_if(fields.begin(), fields.end(),
                                  [&](const RecipeField& known) { return known.key == key; });
  return field == fields.end() ? nullptr : &*field;
}

void set_recipe_field(Recipe& recipe, std::string_view key, std::string_view value) {
  const RecipeField* field = recipe_field(key);
  if (field == nullptr) {
    throw UsageError(fmt::format("unknown key '{}': {} has none", key, name_of(recipe.model)),
                     fmt::format("known keys: {}", known_keys(recipe.model)));
  }
  if (!field->belongs_to(recipe.model)) {
    throw UsageError(fmt::format("{}: '{}' is for {}, the model is {}", key, value,
                                 name_of(*field->only), name_of(recipe.model)),
                     fmt::format("say model = {}, or use what {} has: {}", name_of(*field->only),
                                 name_of(recipe.model), known_keys(recipe.model)));
  }
  try {
    field->set(recipe, value);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("{}: {}", key, e.what()), e.hint());
  }
}

void apply_fields(Recipe& recipe, const std::vector<SaidField>& fields) {
  const auto set = [&](const SaidField& field) {
    try {
      set_recipe_field(recipe, field.key, field.value);
    } catch (const UsageError& e) {
      throw UsageError(field.place + e.what(), e.hint());
    }
  };
  const auto says = [&](std::string_view key) {
    return std::ranges::any_of(fields, [&](const SaidField& field) { return field.key == key; });
  };
  for (const SaidField& field : fields) {
    if (field.key == "model") set(field);
  }
  for (const SaidField& field : fields) set(field);
  if (recipe.model == ModelKind::mlp) return;
  const bool files = says("data") && !says("form") && recipe.data.ends_with(".bin");
  if (files) recipe.form = DataForm::tokens;
  if ((files || says("form")) && recipe.form == DataForm::tokens && !says("order")) {
    recipe.order = DataOrder::sequential;
  }
}

void apply_recipe_text(Recipe& recipe, const std::string& text, const std::string& name) {
  std::vector<SaidField> fields;
  std::set<std::string> seen;
  std::istringstream lines(text);
  lines.exceptions(std::ios::badbit);
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    const std::string_view said = trimmed(std::string_view(line).substr(0, line.find('#')));
    if (said.empty()) continue;
    const std::string place = fmt::format("{}:{}: ", name, number);
    try {
      const auto [key, value] = key_and_value(said);
      if (!seen.emplace(key).second) {
        throw UsageError(fmt::format("key '{}' is repeated", key), "keep one of the lines");
      }
      fields.push_back({std::string(key), std::string(value), place});
    } catch (const UsageError& e) {
      throw UsageError(place + e.what(), e.hint());
    }
  }
  apply_fields(recipe, fields);
}

void apply_recipe_file(Recipe& recipe, const std::string& path) {
  const std::string data = std::move(recipe.data);
  const std::string validation_data = std::move(recipe.validation_data);
  recipe.data.clear();
  recipe.validation_data.clear();
  const std::string text = read_file(path, "recipe");
  apply_recipe_text(recipe, std::string(plain_text(text, TextKind::lines, "recipe", path)), path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const auto settle = [&](std::string& now, const std::string& before) {
    now = now.empty() ? before : (folder / now).lexically_normal().string();
  };
  settle(recipe.data, data);
  settle(recipe.validation_data, validation_data);
}

nlohmann::ordered_json recipe_json(const Recipe& recipe) {
  auto json = nlohmann::ordered_json::object();
  for (const RecipeField& field : recipe_fields()) {
    if (!is_written(field, recipe)) continue;
    const std::string text = field.text(recipe);
    // Read as binary64 and printed again, the shortest text of a binary32 stays the same.
    json[std::string(field.key)] = field.type == Type::text ? nlohmann::ordered_json(text)
                                                            : nlohmann::ordered_json::parse(text);
  }
  return json;
}

Recipe recipe_of(const nlohmann::ordered_json& json) {
  Recipe recipe;
  if (!json.is_object()) throw UsageError("'recipe' is not an object");
  for (const RecipeField& field : recipe_fields()) {
    if (json.contains(field.key) && !has_type(json[field.key], field.type)) {
      throw UsageError(fmt::format("recipe.{} has the wrong type", field.key));
    }
  }
  std::vector<SaidField> fields;
  for (const auto& [key, value] : json.items()) {
    fields.push_back({key, value.is_string() ? value.get<std::string>() : value.dump(), ""});
  }
  apply_fields(recipe, fields);
  for (const RecipeField& field : recipe_fields()) {
    if (!field.belongs_to(recipe.model) || !field.always_written || json.contains(field.key)) {
      continue;
    }
    throw UsageError(fmt::format("recipe.{} is missing", field.key));
  }
  return recipe;
}

std::string to_text(const Recipe& recipe) {
  std::string text;
  for (const RecipeField& field : recipe_fields()) {
    if (!is_written(field, recipe)) continue;
    const std::string value = field.text(recipe);
    if (is_path(field.key) && value.empty()) continue;
    text += fmt::format("{} = {}\n", field.key,
                        is_path(field.key) ? path_text(field.key, value) : value);
  }
  return text;
}

}  // namespace meshparity
