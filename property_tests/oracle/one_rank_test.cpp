// One rank's trainer against the two answers that share no code with it: the float64 oracle within
// its derived bound, and the literal float32 transcription bit for bit. All from the run's own
// parameters.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "model/numerics/functions.h"
#include "model/train_single.h"
#include "oracle/compare.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

static_assert(exp_max_ulp <= kFunctionUlp && log_max_ulp <= kFunctionUlp,
              "the bound allows less than the model's functions may be off");

/// Keeps what a run computed.
class Recording final : public StepObserver {
 public:
  void step(const StepView& view) override {
    losses.push_back(view.loss);
    parameters.push_back(values_of(view.shards));
    gradients.emplace_back();
    for (const ShardView& shard : view.shards) {
      gradients.back().emplace_back(shard.gradient.begin(), shard.gradient.end());
    }
  }
  void finished(std::span<const ShardView> shards) override {
    parameters.push_back(values_of(shards));
  }

  std::vector<float> losses;
  std::vector<FloatTensors> parameters;  ///< before each step, and at the end
  std::vector<FloatTensors> gradients;

 private:
  static FloatTensors values_of(std::span<const ShardView> shards) {
    FloatTensors values;
    for (const ShardView& shard : shards) {
      values.emplace_back(shard.values.begin(), shard.values.end());
    }
    return values;
  }
};

/// A step of a run, with all it was computed from.
struct RecordedStep {
  StepCase before;
  ReferenceStep actual;
};

std::vector<RecordedStep> recorded_run(const Recipe& recipe, const Corpus& corpus) {
  Recording recording;
  const RandomParameters initial(recipe.seed, recipe.init_scale);
  train_single({recipe, corpus, initial, recording});
  std::vector<RecordedStep> steps;
  for (std::size_t s = 0; s < recording.losses.size(); ++s) {
    Batch batch;
    batch.tokens.resize(recipe.batch * recipe.context);
    batch.targets.resize(recipe.batch);
    corpus.draw(Corpus::Split::training, recipe.seed, s, 0, batch.tokens, batch.targets);
    steps.push_back({{recipe, corpus.vocabulary(), recording.parameters[s], batch},
                     {recording.losses[s], recording.gradients[s], recording.parameters[s + 1]}});
  }
  return steps;
}

/// Empty, or where a recorded step is not the literal transcription's.
std::string not_literal(const RecordedStep& step, std::size_t number) {
  const StepCase& before = step.before;
  const ReferenceStep literal =
      reference_step(before.recipe, before.parameters, before.batch, {portable_exp, portable_log});
  const std::vector<float> expected_loss{literal.loss};
  const std::vector<float> loss{step.actual.loss};
  if (const auto found =
          first_difference(number, scalar_spec("loss"), Exact(expected_loss), loss)) {
    return found->text;
  }
  const std::vector<ParameterSpec> specs = before.specs();
  for (std::size_t p = 0; p < specs.size(); ++p) {
    if (const auto found = first_difference(number, specs[p], Exact(literal.gradients[p]),
                                            step.actual.gradients[p])) {
      return "gradient: " + found->text;
    }
    if (const auto found =
            first_difference(number, specs[p], Exact(literal.updated[p]), step.actual.updated[p])) {
      return "updated: " + found->text;
    }
  }
  return "";
}

Corpus random_corpus(std::size_t context) {
  const auto letters = *rc::gen::element(1, 5, 26);
  auto text = *rc::gen::container<std::string>(
      *rc::gen::inRange<std::size_t>(1, 200),
      rc::gen::map(rc::gen::inRange(0, letters + 1),
                   [](int letter) { return letter == 0 ? '\n' : static_cast<char>(96 + letter); }));
  text += 'a';  // never only line ends
  return Corpus(text, context);
}

TEST(OneRank, AgreesWithOracleAndTranscription) {
  Ratios ratios;
  EXPECT_TRUE(rc::check("one rank is within the oracle's bound and bit for bit literal", [&] {
    Recipe recipe = random_recipe(40);
    recipe.steps = 4;
    recipe.init_scale = *rc::gen::element(1.0F, 0.1F, 8.0F);
    if (recipe.init_scale > 1) recipe.lr = 0.01F;  // together with large steps, a run can diverge
    const Corpus corpus = random_corpus(recipe.context);
    const std::vector<RecordedStep> steps = recorded_run(recipe, corpus);
    RC_ASSERT(steps.size() == recipe.steps);
    for (std::size_t s = 0; s < steps.size(); ++s) {
      RC_ASSERT(cannot_overflow(steps[s].before.parameters));
      std::string difference = outside(oracle_of(steps[s].before), steps[s].actual, ratios, s);
      if (difference.empty()) difference = not_literal(steps[s], s);
      if (!difference.empty()) RC_FAIL(difference);
    }
  }));
  ratios.print("one rank, random recipes");
}

/// Judges every tenth step on a text whose letters depend on the ones before.
Ratios judged_run(const Recipe& recipe) {
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    text += i % 7 == 6 ? '\n' : static_cast<char>('a' + (i * i + i / 7) % 26);
  }
  const std::vector<RecordedStep> steps = recorded_run(recipe, Corpus(text, recipe.context));
  EXPECT_EQ(steps.size(), recipe.steps);
  Ratios ratios;
  for (std::size_t s = 0; s < steps.size(); s += 10) {
    EXPECT_EQ(outside(oracle_of(steps[s].before), steps[s].actual, ratios, s), "");
  }
  EXPECT_EQ(not_literal(steps.front(), 0), "");
  EXPECT_EQ(not_literal(steps.back(), steps.size() - 1), "");
  // A bound that is thousands of times too wide proves nothing.
  EXPECT_GT(ratios.smallest_gradient(), 1e-3);
  return ratios;
}

TEST(OneRank, AgreesOnTheDefaultRecipe) {
  Recipe recipe;
  recipe.steps = 200;
  judged_run(recipe).print("one rank, default recipe");
}

TEST(OneRank, AgreesOnADeepRecipe) {
  Recipe recipe;
  recipe.context = 4;
  recipe.embedding = 6;
  recipe.hidden = 20;
  recipe.layers = 12;
  recipe.init_scale = 8;
  recipe.lr = 0.05F;
  recipe.steps = 200;
  judged_run(recipe).print("one rank, twelve hidden layers");
}

}  // namespace
}  // namespace meshparity
