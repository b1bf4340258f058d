#pragma once

#include <nlohmann/json.hpp>
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
namespace meshparity {

/// One field of a recipe, as files and flags spell it.
struct RecipeField {
  std::string_view key;
  std::string_view help;
  std::string (*text)(const Recipe& recipe);
  void (*set)(Recipe& recipe, std::string_view text);
  /// False for a field that is younger than some files: where it has its default it is not written,
  /// and where it is missing it has it.
  bool always_written = true;
};

/// Every field, in the order in which they are written.
const std::vector<RecipeField>& recipe_fields();

/// Sets one field from text. Throws UsageError that names key and value: a key that the recipe's
/// model does not have (with all that it has), a number that is negative, too large or none.
void set_recipe_field(Recipe& recipe, std::string_view key, std::string_view value);

/// Changes the fields of `recipe` that `text` names. `name` stands for the text in errors, which
/// give name:line: a malformed line, an unknown or repeated key, a bad value.
void apply_recipe_text(Recipe& recipe, const std::string& text, const std::string& name);

/// The same from a file. A relative `data` is relative to the file's folder. Throws UsageError.
void apply_recipe_file(Recipe& recipe, const std::string& path);

/// The same as JSON: text fields are strings, all others numbers. Reading throws UsageError for
/// what is missing, unknown or of the wrong type.
nlohmann::ordered_json recipe_json(const Recipe& recipe);
Recipe recipe_of(const nlohmann::ordered_json& json);

/// Canonical text, every field on a line of its own, which reads back as the same recipe. `data` is
/// left out where it is empty. Throws UsageError if `data` holds what a line cannot say ("#", a
/// line end).
std::string to_text(const Recipe& recipe);

}  // namespace meshparity
