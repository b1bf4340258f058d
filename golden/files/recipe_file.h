#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/recipe.h"

/// Recipes as text: `key = value` lines, `#` begins a comment, keys are the command line's flags.
///
///     # ml.c's character model
///     data    = ../corpus/given_names.txt   # relative to this file
///     context = 16
///     lr      = 0.1
///
/// `model = gpt2` anywhere in a text decides the defaults of all that it does not name.
namespace meshparity {

/// One field of a recipe, as files and flags spell it.
struct RecipeField {
  enum class Type { number, text, boolean };

  std::string_view key;
  std::string_view help;
  Type type = Type::number;
  std::string (*text)(const Recipe& recipe) = nullptr;
  void (*set)(Recipe& recipe, std::string_view text) = nullptr;
  /// The only model that has it; none: all have.
  std::optional<ModelKind> only = std::nullopt;
  /// False for a field that is younger than some files of the MLP: there it is not written where it
  /// has its default, and where it is missing it has it.
  bool always_written = true;

  bool belongs_to(ModelKind model) const { return !only || *only == model; }
};

/// Every field, in the order in which they are written.
const std::vector<RecipeField>& recipe_fields();

/// The field of this key; null if there is none.
const RecipeField* recipe_field(std::string_view key);

/// Sets one field from text. Another model brings all of its defaults with it, and keeps only
/// `data`. Throws UsageError that names key and value: a key that the recipe's model does not have
/// (with all that it has), a number that is negative, too large or none.
void set_recipe_field(Recipe& recipe, std::string_view key, std::string_view value);

/// A field that somebody wrote down, and where: what errors begin with ("names.recipe:3: ", "--").
struct SaidField {
  std::string key;
  std::string value;
  std::string place;
};

/// Sets several fields, `model` first, whose defaults the others change. Where they name `data` and
/// no `form`, a path that ends in ".bin" means token files; where the form becomes that and they
/// name no `order`, it is sequential. Throws as `set_recipe_field` does.
void apply_fields(Recipe& recipe, const std::vector<SaidField>& fields);

/// Changes the fields of `recipe` that `text` names. `name` stands for the text in errors, which
/// give name:line: a malformed line, an unknown or repeated key, a bad value.
void apply_recipe_text(Recipe& recipe, const std::string& text, const std::string& name);

/// The same from a file. Relative paths are relative to the file's folder. Throws UsageError.
void apply_recipe_file(Recipe& recipe, const std::string& path);

/// The same as JSON, each field with its type. Reading throws UsageError for what is missing,
/// unknown or of the wrong type.
nlohmann::ordered_json recipe_json(const Recipe& recipe);
Recipe recipe_of(const nlohmann::ordered_json& json);

/// Canonical text, every field of the model on a line of its own, which reads back as the same
/// recipe. A path is left out where it is empty. Throws UsageError if one holds what a line cannot
/// say ("#", a line end).
std::string to_text(const Recipe& recipe);

}  // namespace meshparity
