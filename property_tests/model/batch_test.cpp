// Batches of GPT-2: targets are counted over the global batch, and prompts are short samples.
#include "model/batch.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

Recipe small_recipe(DataForm form) {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.form = form;
  recipe.positions = 8;
  recipe.sequence = 6;
  recipe.batch = 5;
  return recipe;
}

Corpus small_documents() { return Corpus::documents("a\nbcd\n\nefghijk\nab\nlm\n", 6); }

std::size_t present(std::span<const Token> targets) {
  return static_cast<std::size_t>(
      std::ranges::count_if(targets, [](Token target) { return target != kNoTarget; }));
}

RC_GTEST_PROP(BatchSource, TheMeanIsOverTheValidTargetsOfTheGlobalBatch, ()) {
  Recipe recipe = small_recipe(DataForm::lines);
  recipe.seed = *random::any_seed();
  const Corpus corpus = small_documents();
  const BatchSource batches(recipe, corpus);
  Batch room = batches.room_for(recipe.batch);
  const std::uint64_t step = *from_to(0, 50);
  std::size_t total = 0;
  for (const Range slots : random::random_split({0, recipe.batch}, *from_to(1, 3))) {
    const MicroBatch part = batches.draw(Corpus::Split::training, step, slots, room);
    total += present(part.targets);
    RC_ASSERT(part.inverse_targets == batches.inverse_targets(step));
    RC_ASSERT(part.rows() == part.targets.size());
    RC_ASSERT(part.tokens.size() == part.targets.size());
    RC_ASSERT(part.training);
  }
  RC_ASSERT(batches.inverse_targets(step) == 1.0F / static_cast<float>(total));
}

TEST(BatchSource, WindowsAllHaveTheirTargets) {
  Recipe recipe = small_recipe(DataForm::text);
  const Corpus corpus = Corpus::stream(std::string(100, 'x'), 6, false);
  EXPECT_EQ(BatchSource(recipe, corpus).inverse_targets(3), 1.0F / 30);
  recipe.order = DataOrder::sequential;
  EXPECT_EQ(BatchSource(recipe, corpus).inverse_targets(3), 1.0F / 30);
}

RC_GTEST_PROP(BatchSource, InOrderAnyRankDrawsItsOwnSlots, ()) {
  Recipe recipe = small_recipe(DataForm::text);
  recipe.order = DataOrder::sequential;
  recipe.batch = *from_to(1, 6);
  std::string text;
  for (int i = 0; i < 250; ++i) text.push_back(static_cast<char>(i));
  const Corpus corpus = Corpus::stream(text, 6, true);
  const BatchSource batches(recipe, corpus);
  const std::uint64_t step = *from_to(0, 20);
  const std::size_t total = 224 / (recipe.batch * 6);  // of 225 bytes, one is only a successor
  Batch room = batches.room_for(recipe.batch);
  for (const Range slots : random::random_split({0, recipe.batch}, *from_to(1, 3))) {
    const MicroBatch part = batches.draw(Corpus::Split::training, step, slots, room);
    const std::size_t first = (step % total * recipe.batch + slots.begin) * 6;
    for (std::size_t row = 0; row < part.rows(); ++row) {
      RC_ASSERT(part.tokens[row] == static_cast<Token>(first + row));
      RC_ASSERT(part.targets[row] == static_cast<Token>(first + row + 1));
    }
  }
}

TEST(BatchSource, AWholePartIsEveryTargetOnce) {
  const Recipe recipe = small_recipe(DataForm::text);
  std::string text;
  for (int i = 0; i < 200; ++i) text.push_back(static_cast<char>(i));
  const Corpus corpus = Corpus::stream(text, 6, true);
  const BatchSource batches(recipe, corpus);
  Batch room = batches.room_for(recipe.batch);
  const std::size_t samples = corpus.consecutive_samples(Corpus::Split::validation);
  EXPECT_EQ(samples, 4U);  // 19 targets
  const MicroBatch all = batches.consecutive(Corpus::Split::validation, {0, samples}, room);
  EXPECT_FALSE(all.training);
  EXPECT_EQ(all.samples(), 4U);
  EXPECT_EQ(present(all.targets), 19U);
  EXPECT_EQ(all.targets[0], 181);
  EXPECT_EQ(all.targets[18], 199);
  EXPECT_EQ(all.targets[19], kNoTarget);
  const MicroBatch last = batches.consecutive(Corpus::Split::validation, {3, 4}, room);
  EXPECT_EQ(last.targets[0], 199);
  EXPECT_EQ(last.rows(), 6U);
}

TEST(BatchSource, APromptIsAShortSampleWhosePartsFollowTheWholeOne) {
  Recipe recipe = small_recipe(DataForm::text);
  recipe.sequence_leaves = 4;  // parts of 2, 2, 2 and 0 positions
  const Corpus corpus = Corpus::stream("abcdefghijklmnopqrstuvwxyz", 6, false);
  const BatchSource batches(recipe, corpus);
  Batch room = batches.room_for(recipe.batch);
  const std::vector<Token> tokens{3, 1, 2};
  const MicroBatch prompt = batches.prompt(tokens, room);
  EXPECT_EQ(prompt.rows(), 3U);
  EXPECT_EQ(prompt.samples(), 1U);
  EXPECT_FALSE(prompt.training);
  EXPECT_TRUE(std::ranges::equal(prompt.tokens, tokens));
  EXPECT_EQ(present(prompt.targets), 0U);
  EXPECT_EQ(prompt.targets.size(), 3U);
  EXPECT_EQ(prompt.leaves.whole_sequence(), 6U);
  ASSERT_EQ(prompt.leaf_total(), 4U);
  const std::vector<Range> rows{{0, 2}, {2, 3}, {3, 3}, {3, 3}};
  for (std::size_t leaf = 0; leaf < 4; ++leaf) {
    EXPECT_EQ(prompt.leaves.rows_of(leaf, 1), rows[leaf]) << leaf;
  }
  EXPECT_FALSE(prompt.leaves.even());
}

TEST(BatchSource, ThePromptOfARowIsItsWholeContext) {
  Recipe recipe;
  recipe.context = 3;
  const Corpus corpus("anna\nbob\n", 3);
  const BatchSource batches(recipe, corpus);
  Batch room = batches.room_for(2);
  const std::vector<Token> tokens{0, 1, 2};
  const MicroBatch prompt = batches.prompt(tokens, room);
  EXPECT_EQ(prompt.rows(), 1U);
  EXPECT_EQ(prompt.tokens.size(), 3U);
  EXPECT_EQ(prompt.leaves.positions, 1U);
}

}  // namespace
}  // namespace meshparity
