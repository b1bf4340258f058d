#include "model/generator.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "model/numerics/functions.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

constexpr float kLargestDraw = 1.0F - 0x1p-24F;

/// Probabilities as softmax might give them; some are 0, and rounding puts their sum anywhere
/// near 1.
std::vector<float> random_probabilities() {
  std::vector<float> weights = random::floats(
      *from_to(1, 40),
      rc::gen::weightedOneOf<float>(
          {{1, rc::gen::just(0.0F)}, {3, random::moderate_float()}, {1, random::tiny_float()}}));
  for (float& weight : weights) weight = std::abs(weight);
  weights[*from_to(0, weights.size() - 1)] += 1.0F;
  const float sum = std::accumulate(weights.begin(), weights.end(), 0.0F);
  for (float& weight : weights) weight = weight / sum;
  return weights;
}

float random_draw() {
  return static_cast<float>(*rc::gen::oneOf(from_to(0, (1U << 24) - 1),
                                            from_to((1U << 24) - 40, (1U << 24) - 1),
                                            from_to(0, 40))) *
         0x1p-24F;
}

void require_possible(const std::vector<float>& probabilities, Token token) {
  RC_ASSERT(token >= 0);
  RC_ASSERT(static_cast<std::size_t>(token) < probabilities.size());
  RC_ASSERT(probabilities[static_cast<std::size_t>(token)] > 0.0F);
}

RC_GTEST_PROP(Generator, ThereIsAlwaysAPossibleToken, ()) {
  std::vector<float> probabilities = random_probabilities();
  // Rounding alone loses some of the total; a scale makes sure that the draw is often above it.
  const float scale = *rc::gen::element(1.0F, 1.0F, 1.0F - 0x1p-22F, 0.99F, 0.5F);
  for (float& probability : probabilities) probability = probability * scale;
  const float draw = random_draw();
  const float total = std::accumulate(probabilities.begin(), probabilities.end(), 0.0F);
  RC_CLASSIFY(total <= draw, "the draw is above the total");
  require_possible(probabilities, pick_token(probabilities, draw));
}

RC_GTEST_PROP(Generator, LargerDrawsPickLaterTokens, ()) {
  const std::vector<float> probabilities = random_probabilities();
  const float a = random_draw();
  const float b = random_draw();
  RC_ASSERT(pick_token(probabilities, std::min(a, b)) <= pick_token(probabilities, std::max(a, b)));
}

RC_GTEST_PROP(Generator, EveryTokenIsPickedByTheDrawsOfItsPart, ()) {
  const std::vector<float> probabilities = random_probabilities();
  float below = 0.0F;
  for (std::size_t token = 0; token < probabilities.size(); ++token) {
    const float above = below + probabilities[token];
    if (below < above && below < 1.0F) {
      RC_ASSERT(pick_token(probabilities, below) == static_cast<Token>(token));
      RC_ASSERT(pick_token(probabilities, std::nextafter(above, 0.0F)) ==
                static_cast<Token>(token));
    }
    below = above;
  }
}

TEST(Generator, TheTotalMayStayBelowTheDraw) {
  const std::vector<float> ten(10, 0.1F);
  ASSERT_GT(std::accumulate(ten.begin(), ten.end(), 0.0F), kLargestDraw);
  const std::vector<float> low{0.25F, 0.5F, 0.25F - 0x1p-20F, 0.0F};
  EXPECT_EQ(pick_token(low, kLargestDraw), 2);  // not 3, which is impossible
  EXPECT_EQ(pick_token(low, 0.0F), 0);
  EXPECT_EQ(pick_token(std::vector<float>{0.0F, 1.0F}, 0.0F), 1);
  EXPECT_EQ(pick_token(std::vector<float>{1.0F, 0.0F}, kLargestDraw), 0);
}

Recipe small_recipe() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 2;
  recipe.hidden = 5;
  recipe.batch = 8;
  recipe.batch_grain = 1;
  recipe.feature_grain = 2;
  recipe.vocab_grain = 2;
  return recipe;
}

const Corpus& small_corpus() {
  static const Corpus corpus("anna\nbob\ncleo\n\nda\n", 3);
  return corpus;
}

RC_GTEST_PROP(Generator, DocumentsEndAndDependOnTheirIndexAlone, ()) {
  Recipe recipe = small_recipe();
  recipe.seed = *random::any_seed();
  recipe.layers = *from_to(1, 3);
  const float init_scale = static_cast<float>(*from_to(0, 100));
  recipe.init_scale = init_scale;
  const Model model = model_of(recipe, small_corpus().vocabulary());
  const InitialParameters parameters(recipe.seed);
  Generator one(recipe, model, small_corpus(), parameters);
  Generator other(recipe, model, small_corpus(), parameters);
  const std::size_t most = *from_to(0, 50);
  for (std::uint64_t index = 0; index < 4; ++index) {
    const std::string document = one.sample(index, {.most = most});
    RC_ASSERT(document.size() <= most);
    for (const char byte : document) {
      RC_ASSERT(std::string("abcdelno").find(byte) != std::string::npos);
    }
    RC_ASSERT(document == other.sample(index, {.most = most}));
  }
  // Another order, and another limit, which only cuts.
  const std::string first = other.sample(0, {.most = most});
  RC_ASSERT(first == one.sample(0, {.most = most}));
  RC_ASSERT(one.sample(0, {.most = most / 2}) == first.substr(0, most / 2));
}

TEST(Generator, DocumentsOfDifferentIndicesAndSeedsDiffer) {
  Recipe recipe = small_recipe();
  std::set<std::string> documents;
  for (recipe.seed = 1; recipe.seed <= 2; ++recipe.seed) {
    const Model model = model_of(recipe, small_corpus().vocabulary());
    Generator generator(recipe, model, small_corpus(), InitialParameters(7));
    for (std::uint64_t index = 0; index < 20; ++index) documents.insert(generator.sample(index));
  }
  // One in nine documents is empty, a few are a single letter.
  EXPECT_GT(documents.size(), 20U);
}

TEST(Generator, AModelThatKnowsNothingHasTheLossOfChance) {
  // Logits so small that every exponential is 1: each loss is log(V), and sums of 2^n equal numbers
  // are exact.
  Recipe recipe = small_recipe();
  recipe.init_scale = 1e-20F;
  const Model model = model_of(recipe, small_corpus().vocabulary());
  Generator generator(recipe, model, small_corpus(), InitialParameters(1));
  const auto vocabulary = static_cast<float>(small_corpus().vocabulary());
  EXPECT_EQ(generator.validate(4), static_cast<double>(portable_log(vocabulary)));
}

TEST(Generator, ValidationIsRepeatable) {
  Recipe recipe = small_recipe();
  recipe.init_scale = 20.0F;
  const Model model = model_of(recipe, small_corpus().vocabulary());
  const InitialParameters parameters(5);
  Generator one(recipe, model, small_corpus(), parameters);
  Generator other(recipe, model, small_corpus(), parameters);
  const double first = one.validate(3);
  one.sample(0);
  EXPECT_EQ(one.validate(3), first);
  EXPECT_EQ(other.validate(3), first);
  EXPECT_NE(other.validate(1), first);
  EXPECT_GT(first, 0.0);
}

TEST(Generator, TheSmallestCorpusCanBeValidatedToo) {
  const Corpus corpus("a", 1);  // two rows, one of them for validation
  Recipe recipe = small_recipe();
  recipe.context = 1;
  const Model model = model_of(recipe, corpus.vocabulary());
  Generator generator(recipe, model, corpus, InitialParameters(1));
  EXPECT_TRUE(std::isfinite(generator.validate(1)));
}

TEST(Generator, PromptsAreTheBeginning) {
  const Recipe recipe = small_recipe();
  const Model model = model_of(recipe, small_corpus().vocabulary());
  Generator generator(recipe, model, small_corpus(), InitialParameters(1));
  const std::vector<Token> prompt = small_corpus().encode("clan");
  std::set<std::string> documents;
  for (std::uint64_t index = 0; index < 20; ++index) {
    const std::string document = generator.sample(index, {.prompt = prompt, .most = 5});
    EXPECT_TRUE(document.starts_with("clan"));
    EXPECT_LE(document.size(), 9U);
    documents.insert(document);
  }
  EXPECT_GT(documents.size(), 10U);
}

TEST(Generator, TheLikeliestTokenNeedsNoLuck) {
  Recipe recipe = small_recipe();
  recipe.init_scale = 20.0F;
  const Model model = model_of(recipe, small_corpus().vocabulary());
  Generator generator(recipe, model, small_corpus(), InitialParameters(3));
  const std::string first = generator.sample(0, {.most = 10, .top_k = 1});
  for (std::uint64_t index = 1; index < 10; ++index) {
    EXPECT_EQ(generator.sample(index, {.most = 10, .top_k = 1}), first);
    EXPECT_EQ(generator.sample(index, {.most = 10, .temperature = 1e-30F}), first);
  }
}

TEST(Generator, AWholePartIsTheMeanOverItsRows) {
  // Five validation rows in batches of two: by hand, with batches of five.
  Recipe recipe = small_recipe();
  recipe.init_scale = 20.0F;
  const Corpus corpus("anna\nbob\ncleo\n\nda\nanna\nbob\ncleo\nleo\nbea\nnola\nabe\n", 3);
  ASSERT_EQ(corpus.samples(Corpus::Split::validation), 5U);
  const Model model = model_of(recipe, corpus.vocabulary());
  std::vector<double> losses;
  for (const std::size_t batch : {2U, 5U, 8U, 1U}) {
    recipe.batch = batch;
    Generator generator(recipe, model, corpus, InitialParameters(5));
    const Generator::Validation all = generator.validate_all();
    EXPECT_EQ(all.targets, 5U);
    losses.push_back(all.loss);
  }
  // Sums of five binary32 losses in different groups.
  for (const double loss : losses) EXPECT_NEAR(loss, losses[3], losses[3] * 5 * 0x1p-24);
}

RC_GTEST_PROP(Generator, TopKKeepsExactlyTheLargest, ()) {
  std::vector<float> logits = random::floats(*from_to(1, 30), random::moderate_float());
  if (*rc::gen::arbitrary<bool>()) {
    for (float& logit : logits) logit = std::round(logit);  // many are equal
  }
  const std::size_t top_k = *from_to(0, 32);
  const float temperature = *rc::gen::element(1.0F, 0.5F, 3.0F);
  std::vector<float> shaped = logits;
  std::vector<float> room(logits.size());
  shape_logits(shaped, temperature, top_k, room);
  const float largest = *std::max_element(logits.begin(), logits.end());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    std::size_t before = 0;  // tokens that are likelier, or as likely and earlier
    for (std::size_t j = 0; j < logits.size(); ++j) {
      before += logits[j] > logits[i] || (logits[j] == logits[i] && j < i) ? 1 : 0;
    }
    if (top_k > 0 && before >= top_k) {
      RC_ASSERT(shaped[i] == -std::numeric_limits<float>::infinity());
      continue;
    }
    ++kept;
    RC_ASSERT(shaped[i] == (logits[i] - largest) / temperature);
  }
  RC_ASSERT(kept == (top_k == 0 ? logits.size() : std::min(top_k, logits.size())));
}

}  // namespace
}  // namespace meshparity
