// Recipes as text: round trips, numbers, and errors that name file, line and value.
#include "golden/files/recipe_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

Recipe parsed(const std::string& text) {
  Recipe recipe;
  apply_recipe_text(recipe, text, "r.recipe");
  return recipe;
}

std::string refusal(const std::string& text) {
  try {
    parsed(text);
  } catch (const UsageError& e) {
    return std::string(e.what()) + " / " + e.hint();
  }
  return "";
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Finite, not negative, of any exponent.
float random_number() { return std::abs(*random::finite_float()); }

std::size_t random_size() {
  return *rc::gen::oneOf(random::from_to(0, 100), rc::gen::arbitrary<std::size_t>());
}

std::string random_path() {
  std::string path = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::oneOf(
      rc::gen::inRange<char>(' ', '~'), rc::gen::element('\'', '"', '=', '[', ','))));
  std::erase(path, '#');
  return path.empty() ? "x" : path;
}

Recipe random_recipe() {
  Recipe recipe;
  recipe.data = random_path();
  recipe.context = random_size();
  recipe.embedding = random_size();
  recipe.hidden = random_size();
  recipe.layers = random_size();
  recipe.batch = random_size();
  recipe.lr = random_number();
  recipe.steps = random_size();
  recipe.seed = *rc::gen::arbitrary<std::uint64_t>();
  recipe.init_scale = random_number();
  recipe.batch_grain = random_size();
  recipe.feature_grain = random_size();
  recipe.vocab_grain = random_size();
  return recipe;
}

RC_GTEST_PROP(RecipeFile, TextReadsBackAsTheSameRecipe, ()) {
  const Recipe recipe = random_recipe();
  const std::string text = to_text(recipe);
  RC_ASSERT(parsed(text) == recipe);
  RC_ASSERT(to_text(parsed(text)) == text);
}

TEST(RecipeFile, HasCanonicalText) {
  Recipe recipe;
  recipe.data = "names of people.txt";
  EXPECT_EQ(
      to_text(recipe),
      "data = \"names of people.txt\"\ncontext = 16\nembedding = 16\nhidden = 64\nlayers = 1\n"
      "batch = 32\nlr = 0.1\nsteps = 25000\nseed = 42\ninit-scale = 1\nbatch-grain = 8\n"
      "feature-grain = 16\nvocab-grain = 32\n");
  recipe.data = "a#b";
  EXPECT_THROW(to_text(recipe), UsageError);
  recipe.data = "a\nb";
  EXPECT_THROW(to_text(recipe), UsageError);
}

TEST(RecipeFile, CommentsAndSpacesDoNotMatter) {
  const Recipe recipe =
      parsed("# a recipe\n\n  lr=1e-3  # small\n\thidden =\t7\r\ndata = a b.txt\n");
  EXPECT_EQ(recipe.lr, 1e-3);
  EXPECT_EQ(recipe.hidden, 7U);
  EXPECT_EQ(recipe.data, "a b.txt");
  EXPECT_EQ(recipe.context, Recipe().context) << "what is not named stays";
}

TEST(RecipeFile, EveryErrorNamesLineValueAndNextStep) {
  struct Bad {
    const char* text;
    const char* complaint;
  };
  const Bad bads[] = {
      {"lr = 1\nwidth = 3\n", "r.recipe:2: unknown key 'width': mlp has none"},
      {"model = gpt3\n", "r.recipe:1: model: there is no model 'gpt3'"},
      {"mesh = dp=2\n", "unknown key 'mesh'"},
      {"lr = 1\nlr = 1\n", "r.recipe:2: key 'lr' is repeated"},
      {"lr = 1\nbatch = 2\n\nlr = 2\n", "r.recipe:4: key 'lr' is repeated"},
      {"hidden\n", "r.recipe:1: 'hidden' is not 'key = value'"},
      {"# c\nx\n", "r.recipe:2: 'x' is not 'key = value'"},
      {"= 3\n", "is not 'key = value'"},
      {"hidden # = 3\n", "is not 'key = value'"},
      {"[section]\nhidden = 3\n", "r.recipe:1"},
      {"a.hidden = 3\n", "is not 'key = value'"},
      {"hidden =\n", "hidden: the value is empty"},
      {"hidden = -1\n", "'-1' is negative"},
      {"hidden = +1\n", "'+1' is not a whole number"},
      {"hidden = 1.5\n", "'1.5' is not a whole number"},
      {"hidden = 12 34\n", "'12 34' is not a whole number"},
      {"hidden = [1]\n", "'[1]' is not a whole number"},
      {"hidden = 1,2\n", "'1,2' is not a whole number"},
      {"hidden = 0x10\n", "'0x10' is not a whole number"},
      {"hidden = 18446744073709551616\n", "'18446744073709551616' is too large"},
      {"lr = -0.5\n", "'-0.5' is negative"},
      {"lr = nan\n", "'nan' is not a decimal number"},
      {"lr = inf\n", "'inf' is not a decimal number"},
      {"lr = -nan\n", "'-nan' is negative"},
      {"lr = 0.1f\n", "'0.1f' is not a decimal number"},
      {"lr = 1e39\n", "'1e39' does not fit"},
      {"lr = 1e-60\n", "'1e-60' does not fit"},
      {"lr = 1e\n", "'1e' is not a decimal number"},
  };
  for (const Bad& bad : bads) {
    const std::string said = refusal(bad.text);
    EXPECT_TRUE(says(said, bad.complaint)) << bad.text << said;
    EXPECT_TRUE(says(said, "r.recipe:")) << said;
    EXPECT_FALSE(said.ends_with("/ ")) << "no hint: " << said;
  }
  for (const RecipeField& field : recipe_fields()) {
    EXPECT_TRUE(says(refusal("width = 3\n"), std::string(field.key))) << field.key;
  }
}

RC_GTEST_PROP(RecipeFile, AnyTextIsReadOrRefused, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::oneOf(
      rc::gen::arbitrary<char>(),
      rc::gen::element('=', '\n', '#', '[', ']', '"', '.', ' ', '-', '1', 'l', 'r')));
  try {
    parsed(text);
  } catch (const UsageError& e) {
    RC_ASSERT(says(e.what(), "r.recipe:"));
  }
}

TEST(RecipeFile, DataIsMeantFromTheFilesFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "recipes");
  const std::string path = folder.file("recipes/a.recipe");
  Recipe recipe;
  recipe.data = "before.txt";
  write_file(path, "hidden = 3\n");
  apply_recipe_file(recipe, path);
  EXPECT_EQ(recipe.data, "before.txt") << "a file that names no corpus keeps the one before";
  write_file(path, "data = ../corpus/names.txt\n");
  apply_recipe_file(recipe, path);
  EXPECT_EQ(recipe.data, folder.file("corpus/names.txt"));
  write_file(path, "data = /elsewhere/names.txt\n");
  apply_recipe_file(recipe, path);
  EXPECT_EQ(recipe.data, "/elsewhere/names.txt");
  EXPECT_THROW(apply_recipe_file(recipe, folder.file("missing")), UsageError);
  EXPECT_THROW(apply_recipe_file(recipe, folder.path().string()), UsageError);
}

RC_GTEST_PROP(RecipeFile, HexadecimalFloatsAreExact, ()) {
  const auto bits = *random::any_seed();
  const auto value = std::bit_cast<double>(bits);
  if (!std::isfinite(value)) {
    RC_ASSERT_THROWS_AS(parse_hex(hex_text(value)), UsageError);
    return;
  }
  RC_ASSERT(std::bit_cast<std::uint64_t>(parse_hex(hex_text(value))) == bits);
}

TEST(RecipeFile, AHexadecimalFloatHasOneSpelling) {
  EXPECT_EQ(hex_text(3), "0x1.8p+1");
  EXPECT_EQ(hex_text(-0.0), "-0x0p+0");
  for (const char* text : {"", "3", "0x", "0x1.80p+1", "0x3p+0", "0X1.8p+1", "1.8p+1", "0x1.8p1",
                           "0x1.8p+1 ", "0x1.8p+9999", "--0x1p+0", "0x-1p+0", "inf", "nan"}) {
    EXPECT_THROW(parse_hex(text), UsageError) << text;
  }
}

TEST(RecipeFile, DecimalsRoundOnce) {
  // Halfway between two floats but for the last digit: a detour through binary64 would round twice.
  EXPECT_EQ(parse_decimal<float>("1.00000017881393432617187499"), 1.00000011920928955078125F);
  EXPECT_EQ(parse_decimal<float>("1e-45"), std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(parse_decimal<float>("3.4028235e38"), std::numeric_limits<float>::max());
  EXPECT_EQ(parse_decimal<float>("0e5"), 0.0F);
}

}  // namespace
}  // namespace meshparity
