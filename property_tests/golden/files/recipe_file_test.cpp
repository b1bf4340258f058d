// Recipes as text: round trips, numbers, and errors that name file, line and value.
#include "golden/files/recipe_file.h"

#include <fmt/format.h>
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
#include "property_tests/says.h"

namespace meshparity {
namespace {

Recipe parsed(const std::string& text) {
  Recipe recipe;
  apply_recipe_text(recipe, text, "r.recipe");
  return recipe;
}

std::string recipe_refusal(const std::string& text) {
  try {
    parsed(text);
  } catch (const UsageError& e) {
    return std::string(e.what()) + " / " + e.hint();
  }
  return "";
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
      {"lr = 0,2\n", "'0,2' is not a decimal number / write a point"},
      {"lr = 0,002\n", "'0,002' is not a decimal number / write a point"},
      {"heads = 3\n", "r.recipe:1: heads: '3' is for gpt2, the model is mlp"},
      {"model = gpt2\nhidden = 3\n", "r.recipe:2: hidden: '3' is for mlp, the model is gpt2"},
      {"context = 3\nmodel = gpt2\n", "r.recipe:1: context: '3' is for mlp"},
      {"model = gpt2\ntied = yes\n", "r.recipe:2: tied: 'yes' is neither true nor false"},
      {"model = gpt2\nform = words\n", "form: 'words' is unknown / give lines or text or tokens"},
      {"optimizer = adam\n", "optimizer: 'adam' is unknown / give sgd or adamw"},
      {"decay = 1\n", "decay: '1' is unknown"},
  };
  for (const Bad& bad : bads) {
    const std::string said = recipe_refusal(bad.text);
    EXPECT_TRUE(says(said, bad.complaint)) << bad.text << said;
    EXPECT_TRUE(says(said, "r.recipe:")) << said;
    EXPECT_FALSE(said.ends_with("/ ")) << "no hint: " << said;
  }
  for (const RecipeField& field : recipe_fields()) {
    for (const ModelKind model : {ModelKind::mlp, ModelKind::gpt2}) {
      if (!field.belongs_to(model)) continue;
      const std::string said =
          recipe_refusal(fmt::format("width = 3\nmodel = {}\n", name_of(model)));
      EXPECT_TRUE(says(said, std::string(field.key))) << field.key;
    }
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

Recipe random_gpt2_recipe() {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  const auto flip = [] { return *rc::gen::arbitrary<bool>(); };
  const auto number = [] { return static_cast<double>(random_number()); };
  if (flip()) recipe.data = random_path();
  if (flip()) recipe.validation_data = random_path();
  recipe.form = *rc::gen::element(DataForm::lines, DataForm::text, DataForm::tokens);
  recipe.order = *rc::gen::element(DataOrder::random, DataOrder::sequential);
  recipe.optimizer = *rc::gen::element(OptimizerKind::sgd, OptimizerKind::adamw);
  recipe.decay =
      *rc::gen::element(LrDecay::constant, LrDecay::linear, LrDecay::cosine, LrDecay::wsd);
  recipe.all_bytes = flip();
  recipe.tied = flip();
  for (std::size_t Recipe::*size :
       {&Recipe::vocabulary, &Recipe::layers, &Recipe::heads, &Recipe::channels, &Recipe::positions,
        &Recipe::sequence, &Recipe::batch, &Recipe::steps, &Recipe::warmup, &Recipe::batch_grain,
        &Recipe::sequence_leaves, &Recipe::feature_grain, &Recipe::vocab_grain,
        &Recipe::channel_grain, &Recipe::head_grain}) {
    recipe.*size = random_size();
  }
  for (double Recipe::*value :
       {&Recipe::dropout, &Recipe::lr, &Recipe::min_lr, &Recipe::beta1, &Recipe::beta2,
        &Recipe::epsilon, &Recipe::weight_decay, &Recipe::clip}) {
    recipe.*value = number();
  }
  recipe.seed = *rc::gen::arbitrary<std::uint64_t>();
  return recipe;
}

RC_GTEST_PROP(RecipeFile, Gpt2sTextAndJsonReadBackAsTheSameRecipe, ()) {
  const Recipe recipe = random_gpt2_recipe();
  RC_ASSERT(parsed(to_text(recipe)) == recipe);
  RC_ASSERT(recipe_of(recipe_json(recipe)) == recipe);
  RC_ASSERT(recipe_of(nlohmann::ordered_json::parse(recipe_json(recipe).dump())) == recipe);
  // Before a model is known, the order of lines does not matter.
  std::string lines = to_text(recipe);
  lines = lines.substr(lines.find('\n') + 1) + "model = gpt2\n";
  RC_ASSERT(parsed(lines) == recipe);
}

TEST(RecipeFile, AnMlpWritesNewFieldsOnlyWhereTheyDiffer) {
  Recipe recipe;
  recipe.optimizer = OptimizerKind::adamw;
  recipe.beta2 = 0.99;
  const std::string text = to_text(recipe);
  EXPECT_TRUE(says(text, "seed = 42\noptimizer = adamw\nbeta2 = 0.99\ninit-scale = 1\n")) << text;
  EXPECT_EQ(parsed(text), recipe);
  EXPECT_EQ(recipe_of(recipe_json(recipe)), recipe);
}

TEST(RecipeFile, TheModelDecidesTheDefaults) {
  Recipe expected = default_recipe(ModelKind::gpt2);
  expected.heads = 2;
  EXPECT_EQ(parsed("heads = 2\nmodel = gpt2\n"), expected);
  EXPECT_EQ(parsed("model = mlp\n"), Recipe());
  // A layer on top of the same model changes only what it names.
  Recipe recipe = expected;
  apply_recipe_text(recipe, "model = gpt2\nlayers = 7\n", "r.recipe");
  expected.layers = 7;
  EXPECT_EQ(recipe, expected);
}

TEST(RecipeFile, PathsOfTokenFilesSayTheForm) {
  const Recipe inferred = parsed("model = gpt2\ndata = shards/train_*.bin\n");
  EXPECT_EQ(inferred.form, DataForm::tokens);
  EXPECT_EQ(inferred.order, DataOrder::sequential);
  const Recipe random = parsed("order = random\nmodel = gpt2\ndata = a.bin\n");
  EXPECT_EQ(random.form, DataForm::tokens);
  EXPECT_EQ(random.order, DataOrder::random);
  const Recipe text = parsed("form = text\nmodel = gpt2\ndata = a.bin\n");
  EXPECT_EQ(text.form, DataForm::text);
  EXPECT_EQ(text.order, DataOrder::random);
  EXPECT_EQ(parsed("form = tokens\nmodel = gpt2\ndata = a\n").order, DataOrder::sequential);
  EXPECT_EQ(parsed("data = a.bin\n").form, DataForm::lines) << "an MLP has lines";
}

TEST(RecipeFile, JsonOfGpt2MustBeWhole) {
  const nlohmann::ordered_json whole = recipe_json(default_recipe(ModelKind::gpt2));
  EXPECT_TRUE(whole["tied"].is_boolean());
  for (const char* key : {"heads", "tied", "form", "layers"}) {
    nlohmann::ordered_json json = whole;
    json.erase(key);
    EXPECT_THROW(recipe_of(json), UsageError) << key;
    json[key] = nullptr;
    EXPECT_THROW(recipe_of(json), UsageError) << key;
  }
  nlohmann::ordered_json json = whole;
  json["hidden"] = 3;
  EXPECT_THROW(recipe_of(json), UsageError);
}

TEST(RecipeFile, FilesOfWindowsEditorsAreReadOrRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.recipe");
  const auto said = [&](const std::string& text) {
    write_file(path, text);
    Recipe recipe;
    try {
      apply_recipe_file(recipe, path);
    } catch (const UsageError& e) {
      return std::string(e.what()) + " / " + e.hint();
    }
    return fmt::format("hidden {}", recipe.hidden);
  };
  EXPECT_EQ(said("\xef\xbb\xbfhidden = 3\r\n"), "hidden 3");
  EXPECT_TRUE(says(said(std::string("\xff\xfeh\0", 4)), "is UTF-16"));
  EXPECT_TRUE(says(said("# c\rhidden = 3\r"), "carriage returns alone"));
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
