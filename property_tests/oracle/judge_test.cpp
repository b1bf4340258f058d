// Judging a recorded step: what is right passes end to end and block by block, and what is wrong is
// called different, by the name of the block that made it.

#include "oracle/judge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "oracle/compare.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

Recipe middling_recipe() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 4;
  recipe.hidden = 20;
  recipe.batch = 12;
  recipe.batch_grain = 4;
  recipe.feature_grain = 5;
  recipe.vocab_grain = 4;
  return recipe;
}

TEST(Judge, BoundsResidualBlocksSharplyAtEveryDepth) {
  for (std::size_t depth = 1; depth <= 6; ++depth) {
    for (const bool shared : {false, true}) {
      Recipe recipe = middling_recipe();
      Judgement ratios;
      for (recipe.seed = 1; recipe.seed <= 5; ++recipe.seed) {
        const StepCase drawn = drawn_case(recipe, residual_model(recipe, 11, depth, shared), 0.4);
        EXPECT_EQ(outside(drawn, literal_step(drawn, careless_functions()), ratios), "");
      }
      print("residual blocks, depth " + std::to_string(depth), ratios);
      for (const auto& [name, ratio] : ratios.ratios) EXPECT_GT(ratio, 0.01) << name;
    }
  }
}

/// A right step of a model with shared residual blocks, to spoil.
class JudgeTeeth : public testing::Test {
 protected:
  StepUnderTest test(const Recording::Step& step) const { return {drawn_.model, batch_, step, 5}; }
  /// What is said of a block that made something else than it should have.
  std::string first_of(const Recording::Step& step) const {
    return judge_blocks(test(step)).first_difference.value_or("");
  }

  const StepCase drawn_ =
      drawn_case(middling_recipe(), residual_model(middling_recipe(), 11, 4, true), 0.4);
  const MicroBatch batch_ = drawn_.whole_batch();
  const Recording::Step right_ = literal_step(drawn_, library_functions()).step;
};

TEST_F(JudgeTeeth, TheRightStepPasses) {
  EXPECT_EQ(first_of(right_), "");
  EXPECT_FALSE(judge_end_to_end(test(right_)).first_difference);
}

TEST_F(JudgeTeeth, AWrongValueAtABoundaryNamesTheBlockThatGaveIt) {
  for (std::size_t b = 1; b < right_.boundary_values.size(); ++b) {
    Recording::Step wrong = right_;
    wrong.boundary_values[b][7] += 0x1p-12F;
    EXPECT_EQ(first_of(wrong).find("step 5, " + drawn_.model.blocks[b - 1].name + " output[7] ("),
              0U)
        << first_of(wrong);
    // Loss and gradients are right: nobody else would notice.
    EXPECT_FALSE(judge_end_to_end(test(wrong)).first_difference);
  }
}

TEST_F(JudgeTeeth, AWrongGradientAtABoundaryNamesTheBlockThatGaveIt) {
  const std::size_t last = right_.boundary_gradients.size() - 1;
  for (std::size_t b = 1; b <= last; ++b) {
    Recording::Step wrong = right_;
    wrong.boundary_gradients[b][7] += 0x1p-12F;
    const std::string giver =
        b == last ? "head logit gradient" : drawn_.model.blocks[b].name + " input gradient";
    EXPECT_EQ(first_of(wrong).find("step 5, " + giver + "[7] ("), 0U) << first_of(wrong);
  }
}

TEST_F(JudgeTeeth, AWrongLossIsTheHeads) {
  Recording::Step wrong = right_;
  wrong.loss *= 1 + 0x1p-15F;
  EXPECT_EQ(first_of(wrong).find("step 5, head loss: "), 0U) << first_of(wrong);
}

TEST_F(JudgeTeeth, AGradientWithOneUseMissing) {
  // The same values in a model that shares nothing: its gradients are those of single uses.
  StepCase apart = drawn_;
  apart.model = residual_model(middling_recipe(), 11, 4, false);
  for (const ParameterSpec& spec : apart.model.parameters) {
    std::string name = spec.name;
    if (name.starts_with("block.1")) name.replace(0, 7, "block.0");
    if (name.starts_with("block.3")) name.replace(0, 7, "block.2");
    apart.values[spec.name] = drawn_.values.at(name);
  }
  const Recording::Step uses = literal_step(apart, library_functions()).step;
  for (const std::string pair : {"01", "23"}) {
    const std::string first = std::string("block.") + pair[0];
    const std::string second = std::string("block.") + pair[1];
    for (const std::string part : {".up.weight", ".up.bias", ".down.weight", ".down.bias"}) {
      for (const std::string& use : {first, second}) {
        Recording::Step wrong = right_;
        wrong.gradients.at(first + part) = uses.gradients.at(use + part);
        const std::string alone = "step 5, " + first + "+" + second + " grad/" + first + part;
        EXPECT_EQ(first_of(wrong).find(alone), 0U) << first_of(wrong);
        const auto end_to_end = judge_end_to_end(test(wrong)).first_difference;
        ASSERT_TRUE(end_to_end);
        EXPECT_EQ(end_to_end->find("step 5, grad/" + first + part), 0U) << *end_to_end;
      }
    }
  }
}

/// The bounds have room, but what is outside them is refused: with less than the observed error,
/// the right step is called different.
TEST_F(JudgeTeeth, ABoundBelowTheObservedErrorRefusesTheRightStep) {
  const auto refused = [](const ParameterSpec& spec, Bounded bounded,
                          const std::vector<float>& actual) {
    const double ratio = RoundingBound(bounded).worst_ratio(actual);
    EXPECT_GT(ratio, 0.01) << spec.name;
    for (double& bound : bounded.bound) bound *= ratio / 2;
    return RoundingBound(bounded).worst_ratio(actual) > 1 &&
           first_difference(0, spec, RoundingBound(bounded), actual).has_value();
  };
  const Tensors parameters = widened(drawn_.model, drawn_.values);
  const OracleStep end_to_end = oracle_step(drawn_.model, parameters, batch_);
  const OracleLocal local = oracle_local(drawn_.model, parameters, batch_, right_.boundary_values,
                                         right_.boundary_gradients);
  for (std::size_t p = 0; p < drawn_.model.parameters.size(); ++p) {
    const ParameterSpec& spec = drawn_.model.parameters[p];
    EXPECT_TRUE(refused(spec, end_to_end.gradients[p], right_.gradients.at(spec.name)));
    EXPECT_TRUE(refused(spec, local.gradients[p], right_.gradients.at(spec.name)));
  }
  for (std::size_t b = 1; b < drawn_.model.blocks.size(); ++b) {
    ParameterSpec spec = scalar_spec(drawn_.model.blocks[b].name);
    spec.columns = right_.boundary_values[b + 1].size();
    EXPECT_TRUE(refused(spec, local.blocks[b].output, right_.boundary_values[b + 1]));
    spec.columns = right_.boundary_gradients[b].size();
    EXPECT_TRUE(refused(spec, local.blocks[b].input_gradient, right_.boundary_gradients[b]));
  }
}

TEST_F(JudgeTeeth, BlocksAloneAreJudgedWithoutWhatCameBefore) {
  // Their bounds do not grow with depth, and are far below those of a whole step.
  const Tensors parameters = widened(drawn_.model, drawn_.values);
  const OracleLocal local = oracle_local(drawn_.model, parameters, batch_, right_.boundary_values,
                                         right_.boundary_gradients);
  const OracleStep whole = oracle_step(drawn_.model, parameters, batch_);
  const auto sum = [](const std::vector<double>& bounds) {
    double total = 0;
    for (const double bound : bounds) total += bound;
    return total;
  };
  EXPECT_LT(4 * sum(local.gradients[0].bound), sum(whole.gradients[0].bound));
  EXPECT_LT(sum(local.loss.bound), sum(whole.loss.bound));
}

TEST_F(JudgeTeeth, RefusesWhatWasNotRecorded) {
  const auto refuses = [&](const auto& spoil) {
    Recording::Step bad = right_;
    spoil(bad);
    EXPECT_THROW(judge_blocks(test(bad)), std::invalid_argument);
  };
  refuses([](Recording::Step& s) { s.boundary_values.clear(); });
  refuses([](Recording::Step& s) { s.boundary_gradients.pop_back(); });
  refuses([](Recording::Step& s) { s.boundary_values[2].pop_back(); });
  refuses([](Recording::Step& s) { s.boundary_gradients[3].clear(); });
  refuses([](Recording::Step& s) { s.values.erase("output.bias"); });
  refuses([](Recording::Step& s) { s.gradients.at("output.bias").pop_back(); });
  EXPECT_THROW(judge_update(test(right_), {}, middling_recipe()), std::invalid_argument);
}

TEST(Judgement, KeepsTheWorstOfEachAndTheFirstDifference) {
  Judgement all;
  EXPECT_EQ(all.worst(), nullptr);
  all.add({{{"a", 0.25}, {"b", 0.5}}, std::nullopt});
  all.add({{{"a", 0.125}, {"c", 2}}, "first"});
  all.add({{{"c", 1}}, "second"});
  EXPECT_EQ(all.ratios, (std::map<std::string, double>{{"a", 0.25}, {"b", 0.5}, {"c", 2}}));
  EXPECT_EQ(all.worst()->first, "c");
  EXPECT_EQ(all.bluntest()->first, "a");
  EXPECT_EQ(all.first_difference, "first");
}

TEST(BoundedUpdate, TensorsOfOtherSizesAreRefused) {
  const std::vector<float> four(4, 1), three(3, 1);
  UpdateUnderTest update;
  update.values = four;
  update.gradient = three;
  EXPECT_THROW(bounded_update(update), std::invalid_argument);
  update.gradient = four;
  EXPECT_EQ(bounded_update(update).values.value.size(), 4U);
  update.optimizer = OptimizerKind::adamw;
  update.first_moment = update.second_moment = update.new_first_moment = four;
  EXPECT_THROW(bounded_update(update), std::invalid_argument) << "no second moment";
  update.new_second_moment = four;
  EXPECT_EQ(bounded_update(update).second_moment.value.size(), 4U);
}

}  // namespace
}  // namespace meshparity
