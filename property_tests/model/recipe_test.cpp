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

Recipe gpt2_recipe() { return default_recipe(ModelKind::gpt2); }

TEST(Gpt2Recipe, DefaultsAreValid) {
  EXPECT_NO_THROW(validate(gpt2_recipe(), 65));
  Recipe recipe = gpt2_recipe();
  recipe.sequence_leaves = 4;
  recipe.dropout = 0.5;
  recipe.optimizer = OptimizerKind::sgd;
  EXPECT_NO_THROW(validate(recipe, 1));
}

TEST(Gpt2Recipe, RefusesEverySizeOfZeroAndEveryOneThatOverflows) {
  const std::vector<Size> all{
      {"layers", &Recipe::layers},        {"heads", &Recipe::heads},
      {"channels", &Recipe::channels},    {"positions", &Recipe::positions},
      {"batch", &Recipe::batch},          {"batch-grain", &Recipe::batch_grain},
      {"head-grain", &Recipe::head_grain}};
  for (const Size& size : all) {
    Recipe recipe = gpt2_recipe();
    recipe.*size.member = 0;
    expect_refused(recipe, size.name + " is 0");
  }
  std::vector<Size> large = all;
  large.push_back({"sequence", &Recipe::sequence});
  large.push_back({"sequence-leaves", &Recipe::sequence_leaves});
  large.push_back({"feature-grain", &Recipe::feature_grain});
  large.push_back({"vocab-grain", &Recipe::vocab_grain});
  large.push_back({"channel-grain", &Recipe::channel_grain});
  for (const Size& size : large) {
    for (const std::size_t huge :
         {std::size_t{1} << 41, std::size_t{1} << 62, std::numeric_limits<std::size_t>::max()}) {
      Recipe recipe = gpt2_recipe();
      recipe.*size.member = huge;
      expect_refused(recipe, std::to_string(huge));
    }
  }
  Recipe recipe = gpt2_recipe();
  recipe.channels = std::size_t{1} << 21;
  expect_refused(recipe, "2097152 x 2097152");
}

TEST(Gpt2Recipe, RefusesSizesThatDoNotFitEachOther) {
  Recipe recipe = gpt2_recipe();
  recipe.heads = 3;
  expect_refused(recipe, "heads is 3, which does not divide 128 channels");
  recipe = gpt2_recipe();
  recipe.sequence = 65;
  expect_refused(recipe, "sequence is 65, the number of positions of the model is 64");
  recipe = gpt2_recipe();
  recipe.sequence_leaves = 3;
  expect_refused(recipe, "sequence-leaves is 3");
  recipe.sequence_leaves = 0;
  expect_refused(recipe, "sequence-leaves is 0");
  recipe.sequence_leaves = 2;
  recipe.batch_grain = 2;
  expect_refused(recipe, "batch-grain is 2");
  recipe = gpt2_recipe();
  recipe.batch = std::size_t{1} << 18;
  expect_refused(recipe, "16777216 targets");
  recipe.batch -= 1;
  recipe.channels = recipe.heads = 1;
  EXPECT_NO_THROW(validate(recipe, 2));
}

TEST(Gpt2Recipe, RefusesCoordinatesOfDropoutBeyond32Bits) {
  Recipe recipe = gpt2_recipe();
  recipe.dropout = 0.1;
  recipe.steps = std::size_t{1} << 32;
  expect_refused(recipe, "steps is 4294967296");
  recipe.dropout = 0;
  EXPECT_NO_THROW(validate(recipe, kVocabulary));
  recipe = gpt2_recipe();
  recipe.dropout = 0.1;
  recipe.heads = recipe.channels = std::size_t{1} << 13;
  recipe.positions = std::size_t{1} << 21;
  recipe.batch = recipe.batch_grain = 1;
  expect_refused(recipe,
                 "dropout with 8192 channels and 17179869184 keys of a row: the limit is 2^34");
}

TEST(Recipe, RefusesNumbersOutOfTheirRange) {
  struct Bad {
    double Recipe::*member;
    double value;
    std::string text;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Bad> bads{{&Recipe::beta1, 1, "beta1 is 1"},
                              {&Recipe::beta1, -0.1, "beta1 is -0.1"},
                              {&Recipe::beta2, nan, "beta2 is nan"},
                              {&Recipe::beta2, 0.99999999999, "beta2 is 0.99999999999"},
                              {&Recipe::epsilon, 0, "eps is 0"},
                              {&Recipe::epsilon, 1e-60, "eps is 1e-60"},
                              {&Recipe::weight_decay, -1, "weight-decay is -1"},
                              {&Recipe::clip, -1, "clip is -1"},
                              {&Recipe::clip, infinity, "clip is inf"},
                              {&Recipe::min_lr, -1, "min-lr is -1"},
                              {&Recipe::min_lr, 0.5, "min-lr is 0.5, more than lr"},
                              {&Recipe::lr, 0, "lr is 0"},
                              {&Recipe::lr, 1e-60, "lr is 1e-60"}};
  for (const ModelKind model : {ModelKind::mlp, ModelKind::gpt2}) {
    for (const Bad& bad : bads) {
      Recipe recipe = default_recipe(model);
      recipe.*bad.member = bad.value;
      expect_refused(recipe, bad.text);
    }
    Recipe recipe = default_recipe(model);
    recipe.warmup = recipe.steps;
    EXPECT_NO_THROW(validate(recipe, kVocabulary));
    recipe.warmup += 1;
    expect_refused(recipe, "warmup is " + std::to_string(recipe.warmup));
  }
  for (const double dropout : {1.0, -0.1, nan, 0.99999999999}) {
    Recipe recipe = gpt2_recipe();
    recipe.dropout = dropout;
    expect_refused(recipe, "dropout is ");
  }
}

TEST(Recipe, LeastBytesAreTheParametersAndWhatPassesBetweenBlocks) {
  Recipe recipe = gpt2_recipe();
  recipe.layers = 12;
  recipe.heads = 12;
  recipe.channels = 768;
  recipe.positions = 1024;
  recipe.sequence = 64;
  recipe.batch = 4;
  // 124.4 million parameters; parameters, gradients and two moments.
  const double parameters = 4 * 4 * 124.4e6;
  const double all = least_bytes(recipe, 50257, 1);
  EXPECT_GT(all, parameters);
  EXPECT_LT(all, parameters + 4.0 * 256 * (2 * 50257 + 25 * 768));
  recipe.optimizer = OptimizerKind::sgd;
  EXPECT_LT(least_bytes(recipe, 50257, 4), 0.55 * all);
}

}  // namespace
}  // namespace meshparity
