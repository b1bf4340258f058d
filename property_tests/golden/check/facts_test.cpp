#include "golden/check/facts.h"

#include <gtest/gtest.h>

#include "golden/files/file_io.h"

namespace meshparity {
namespace {

TEST(Facts, TheCorpusIsMadeByItsRule) {
  EXPECT_EQ(read_file(MESHPARITY_GOLDEN_DIR "/corpus/facts.txt", "corpus"),
            facts_corpus());
}

TEST(Facts, QuestionsHaveTheirAnswers) {
  const std::vector<Fact> facts = all_facts();
  ASSERT_EQ(facts.size(), 200U);
  EXPECT_EQ(facts[34].question, "3+4=");
  EXPECT_EQ(facts[34].answer, "7");
  EXPECT_EQ(facts[199].question, "9*9=");
  EXPECT_EQ(facts[199].answer, "81");
}

/// An MLP whose context of four tokens shows it every question whole.
TEST(Facts, WhoKnowsNothingIsSeldomRight) {
  Recipe recipe;
  recipe.context = 4;
  const Corpus corpus(facts_corpus(), recipe.context);
  const Model model = model_of(recipe, corpus.vocabulary());
  Generator generator(recipe, model, corpus, InitialParameters(1));
  const RightAnswers answers = ask_all_facts(generator, corpus);
  EXPECT_EQ(answers.asked, 200U);
  EXPECT_LT(answers.right, 60U);
}

}  // namespace
}  // namespace meshparity
