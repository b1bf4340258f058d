// A whole run held to the oracle: the verdict on what is right, and what it is made of.

#include "property_tests/proof/oracle_observer.h"

#include <gtest/gtest.h>

#include "model/mlp.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

TEST(HoldToOracle, JudgesEveryStepEndToEndAndByBlocks) {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 4;
  recipe.hidden = 10;
  recipe.layers = 3;
  recipe.batch = 9;
  recipe.batch_grain = 2;
  recipe.feature_grain = 4;
  recipe.steps = 12;
  const Corpus corpus("tell\nme\nno\nmore\n", recipe.context);
  for (const Model& model :
       {mlp(recipe, corpus.vocabulary()), residual_model(recipe, corpus.vocabulary(), 3, true)}) {
    const OracleVerdict verdict = hold_to_oracle(recipe, model, corpus);
    EXPECT_FALSE(verdict.first_difference) << *verdict.first_difference;
    EXPECT_EQ(verdict.steps, recipe.steps);
    EXPECT_EQ(verdict.whole_steps, recipe.steps);
    EXPECT_EQ(verdict.updates, recipe.steps);
    EXPECT_LT(verdict.worst_step, recipe.steps);
    EXPECT_TRUE(verdict.worst_tensor.starts_with("grad/") || verdict.worst_tensor == "loss");
    EXPECT_FALSE(verdict.worst_local_what.empty());
    EXPECT_FALSE(verdict.bluntest_what.empty());
    for (const double ratio :
         {verdict.worst_ratio, verdict.worst_local_ratio, verdict.worst_update_ratio}) {
      EXPECT_GT(ratio, 0.05);
      EXPECT_LE(ratio, 1);
    }
    EXPECT_GT(verdict.bluntest_ratio, 1e-3);
    EXPECT_LE(verdict.bluntest_ratio, verdict.worst_local_ratio);
  }
}

TEST(HoldToOracle, ARunWithoutStepsProvesNothing) {
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 2;
  recipe.steps = 0;
  const Corpus corpus("ab\n", recipe.context);
  const OracleVerdict verdict = hold_to_oracle(recipe, mlp(recipe, corpus.vocabulary()), corpus);
  EXPECT_EQ(verdict.steps, 0U);
  EXPECT_EQ(verdict.bluntest_ratio, 0);
}

}  // namespace
}  // namespace meshparity
