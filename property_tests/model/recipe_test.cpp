#include "model/recipe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::size_t kVocabulary = 27;

struct Size {
  std::string name;
  std::size_t Recipe::*member;
};

const std::vector<Size>& sizes() {
  static const std::vector<Size> all{{"context", &Recipe::context},
                                     {"embedding", &Recipe::embedding},
                                     {"hidden", &Recipe::hidden},
                                     {"layers", &Recipe::layers},
                                     {"batch", &Recipe::batch},
                                     {"batch-grain", &Recipe::batch_grain},
                                     {"feature-grain", &Recipe::feature_grain},
                                     {"vocab-grain", &Recipe::vocab_grain}};
  return all;
}

/// Validation fails with a message that has `part` in it, and a hint.
void expect_refused(const Recipe& recipe, const std::string& part,
                    std::size_t vocabulary = kVocabulary) {
  try {
    validate(recipe, vocabulary);
    ADD_FAILURE() << "accepted, though " << part;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Recipe, DefaultsAreThoseOfTheCharacterModel) {
  const Recipe recipe;
  EXPECT_EQ(recipe.context, 16U);
  EXPECT_EQ(recipe.embedding, 16U);
  EXPECT_EQ(recipe.hidden, 64U);
  EXPECT_EQ(recipe.layers, 1U);
  EXPECT_EQ(recipe.batch, 32U);
  EXPECT_EQ(recipe.lr, 0.1);
  EXPECT_EQ(recipe.steps, 25000U);
  EXPECT_EQ(recipe.init_scale, 1.0F);
  EXPECT_NO_THROW(validate(recipe, kVocabulary));
}

TEST(Recipe, SmallestSizesAreFine) {
  Recipe recipe;
  for (const Size& size : sizes()) recipe.*size.member = 1;
  recipe.steps = 0;
  recipe.lr = std::numeric_limits<float>::denorm_min();
  recipe.init_scale = std::numeric_limits<float>::max();
  EXPECT_NO_THROW(validate(recipe, 2));
}

TEST(Recipe, GrainsMayExceedWhatTheySplit) {
  Recipe recipe;
  recipe.batch_grain = recipe.feature_grain = recipe.vocab_grain = 1000000;
  EXPECT_NO_THROW(validate(recipe, kVocabulary));
}

TEST(Recipe, RefusesEverySizeOfZero) {
  for (const Size& size : sizes()) {
    Recipe recipe;
    recipe.*size.member = 0;
    expect_refused(recipe, size.name + " is 0");
  }
}

TEST(Recipe, RefusesEverySizeThatOverflows) {
  for (const Size& size : sizes()) {
    for (const std::size_t huge : {(std::size_t{1} << 40) + 1, std::size_t{1} << 63,
                                   std::numeric_limits<std::size_t>::max()}) {
      Recipe recipe;
      recipe.*size.member = huge;
      expect_refused(recipe, std::to_string(huge));
    }
  }
  expect_refused(Recipe(), std::to_string(std::size_t{1} << 40), std::size_t{1} << 40);
}

TEST(Recipe, RefusesProductsThatOverflow) {
  // Each size fits alone; 2^32 * 2^32 wraps to 0.
  const std::size_t large = std::size_t{1} << 32;
  Recipe recipe;
  recipe.context = recipe.embedding = large;
  expect_refused(recipe, std::to_string(large) + " x " + std::to_string(large));
  recipe = Recipe();
  recipe.hidden = large;
  expect_refused(recipe, "hidden");
  recipe = Recipe();
  recipe.layers = large;
  recipe.hidden = 64;
  expect_refused(recipe, "all hidden layers");
  recipe = Recipe();
  recipe.batch = 2 * large;
  expect_refused(recipe, std::to_string(2 * large));
  recipe = Recipe();
  recipe.batch_grain = 256 * large;
  expect_refused(recipe, std::to_string(256 * large));
}

TEST(Recipe, RefusesNumbersThatAreNotPositiveAndFinite) {
  using Limits = std::numeric_limits<float>;
  struct Bad {
    float value;
    std::string text;
  };
  for (const Bad& bad : {Bad{0.0F, "0"}, Bad{-0.5F, "-0.5"}, Bad{Limits::infinity(), "inf"},
                         Bad{-Limits::infinity(), "-inf"}, Bad{Limits::quiet_NaN(), "nan"}}) {
    Recipe recipe;
    recipe.lr = bad.value;
    expect_refused(recipe, "lr is " + bad.text);
    recipe = Recipe();
    recipe.init_scale = bad.value;
    expect_refused(recipe, "init-scale is " + bad.text);
  }
}

}  // namespace
}  // namespace meshparity
