// One rank's trainer against the two answers that share no code with it: the float64 oracle within
// its derived bound, and the literal float32 transcription bit for bit. All from the run's own
// parameters.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/error.h"
#include "model/gpt2.h"
#include "model/mlp.h"
#include "model/numerics/functions.h"
#include "model/train_single.h"
#include "oracle/compare.h"
#include "property_tests/oracle/gpt2_cases.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

static_assert(exp_max_ulp <= kFunctionUlp && log_max_ulp <= kFunctionUlp,
              "the bound allows less than the model's functions may be off");

using Trainer = std::function<void(const TrainingRun&)>;

Recording recorded(const Recipe& recipe, const Model& model, const Corpus& corpus,
                   const Trainer& train) {
  Recording recording;
  Recorder recorder(recording, true);
  const InitialParameters initial(recipe.seed);
  train({recipe, model, corpus, initial, recorder});
  return recording;
}

/// A step of a run, with all it was computed from.
StepCase case_of(const Recipe& recipe, const Model& model, const Corpus& corpus,
                 const Recording& run, std::size_t step) {
  StepCase drawn{.recipe = recipe,
                 .model = model,
                 .values = run.steps[step].values,
                 .step = step,
                 .first_moments = run.steps[step].first_moments,
                 .second_moments = run.steps[step].second_moments};
  drawn.batch.tokens.resize(recipe.batch * corpus.context());
  drawn.batch.targets.resize(recipe.batch * corpus.positions());
  corpus.draw(Corpus::Split::training, recipe.seed, step, 0, drawn.batch.tokens,
              drawn.batch.targets);
  return drawn;
}

ComputedStep computed_in(const Recording& run, std::size_t step) {
  return {run.steps[step], state_after(run, step)};
}

/// Empty, or where a run first differs from the reference trainer's, which took the same steps.
std::string not_literal(const Recording& expected, const Recording& actual) {
  std::string found;
  const auto compare = [&](std::size_t step, const std::string& name,
                           std::span<const float> of_reference, std::span<const float> of_run) {
    if (found.empty()) found = difference_of(step, name, of_reference, of_run);
  };
  for (std::size_t s = 0; s < expected.steps.size(); ++s) {
    const Recording::Step& step = expected.steps[s];
    const Recording::Step& other = actual.steps.at(s);
    for (const auto& [name, values] : step.values) compare(s, name, values, other.values.at(name));
    for (const auto& [name, moment] : step.first_moments) {
      compare(s, "first moment of " + name, moment, other.first_moments.at(name));
      compare(s, "second moment of " + name, step.second_moments.at(name),
              other.second_moments.at(name));
    }
    const std::size_t boundaries = step.boundary_values.size();
    for (std::size_t b = 0; b < boundaries; ++b) {
      compare(s, "boundary " + std::to_string(b), step.boundary_values[b],
              other.boundary_values.at(b));
    }
    compare(s, "loss", {&step.loss, 1}, {&other.loss, 1});
    for (std::size_t b = boundaries; b-- > 0;) {
      compare(s, "gradient of boundary " + std::to_string(b), step.boundary_gradients[b],
              other.boundary_gradients.at(b));
    }
    for (const auto& [name, gradient] : step.gradients) {
      compare(s, "gradient of " + name, gradient, other.gradients.at(name));
    }
  }
  for (const auto& [name, values] : expected.final_values) {
    compare(expected.steps.size(), name, values, actual.final_values.at(name));
  }
  for (const auto& [name, moment] : expected.final_first_moments) {
    compare(expected.steps.size(), "first moment of " + name, moment,
            actual.final_first_moments.at(name));
    compare(expected.steps.size(), "second moment of " + name,
            expected.final_second_moments.at(name), actual.final_second_moments.at(name));
  }
  return found;
}

const ElementaryFunctions kModels{portable_exp, portable_log, portable_gelu,
                                  portable_gelu_derivative};

const Trainer kReference = [](const TrainingRun& run) { train_reference(run, kModels); };

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
  Judgement ratios;
  EXPECT_TRUE(rc::check("one rank is within the oracle's bound and bit for bit literal", [&] {
    Recipe recipe = random_recipe(40);
    recipe.steps = 4;
    recipe.init_scale = *rc::gen::element(1.0F, 0.1F, 8.0F);
    if (recipe.init_scale > 1) recipe.lr = 0.01F;  // together with large steps, a run can diverge
    const Corpus corpus = random_corpus(recipe.context);
    const Model model = random_model(recipe, corpus.vocabulary());
    const Recording run = recorded(recipe, model, corpus, train_single);
    RC_ASSERT(run.steps.size() == recipe.steps);
    for (std::size_t s = 0; s < run.steps.size(); ++s) {
      RC_ASSERT(run.steps[s].reports == std::size_t{1});
      RC_ASSERT(cannot_overflow(model, run.steps[s].values));
      const std::string found =
          outside(case_of(recipe, model, corpus, run, s), computed_in(run, s), ratios, s);
      if (!found.empty()) RC_FAIL(found);
    }
    const std::string found = not_literal(recorded(recipe, model, corpus, kReference), run);
    if (!found.empty()) RC_FAIL(found);
  }));
  print("one rank, random recipes", ratios);
}

TEST(OneRank, TrainsTransformersAsTheTranscriptionDoes) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("one rank's transformer is within the bounds and literal", [&] {
    Recipe recipe = random_gpt2_recipe(2);
    recipe.steps = 3;
    recipe.warmup = *rc::gen::inRange<std::size_t>(0, 3);
    const std::string text = "to be\nor\n\nnot to be\nthat is the question\nwhether it\n";
    const std::size_t sequence = recipe.sequence;
    const bool lines = *rc::gen::arbitrary<bool>();
    recipe.form = lines ? DataForm::lines : DataForm::text;
    const Corpus corpus = lines ? Corpus::documents(text + text, sequence)
                                : Corpus::stream(text + text, sequence, false);
    const Model model = gpt2(recipe, corpus.vocabulary());
    const Recording run = recorded(recipe, model, corpus, train_single);
    RC_ASSERT(run.steps.size() == recipe.steps);
    for (std::size_t s = 0; s < run.steps.size(); ++s) {
      const std::string found =
          outside(case_of(recipe, model, corpus, run, s), computed_in(run, s), ratios, s);
      if (!found.empty()) RC_FAIL(found);
    }
    const std::string found = not_literal(recorded(recipe, model, corpus, kReference), run);
    if (!found.empty()) RC_FAIL(found);
  }));
  print("one rank, random transformers", ratios);
}

/// A text whose letters depend on the ones before.
Corpus patterned_corpus(std::size_t context) {
  std::string text;
  for (int i = 0; i < 4000; ++i) {
    text += i % 7 == 6 ? '\n' : static_cast<char>('a' + (i * i + i / 7) % 26);
  }
  return Corpus(text, context);
}

/// Judges every tenth step; the literal transcription is held against the first ones.
Judgement judged_run(Recipe recipe, const std::function<Model(std::size_t)>& model_for) {
  const Corpus corpus = patterned_corpus(recipe.context);
  const Model model = model_for(corpus.vocabulary());
  const Recording run = recorded(recipe, model, corpus, train_single);
  EXPECT_EQ(run.steps.size(), recipe.steps);
  Judgement ratios;
  for (std::size_t s = 0; s < run.steps.size(); s += 10) {
    EXPECT_EQ(outside(case_of(recipe, model, corpus, run, s), computed_in(run, s), ratios, s), "");
  }
  const StepCase last = case_of(recipe, model, corpus, run, recipe.steps - 1);
  const ComputedStep literal = literal_step(last, kModels);
  for (const auto& [name, values] : literal.updated.values) {
    EXPECT_EQ(difference_of(recipe.steps, name, values, run.final_values.at(name)), "");
  }
  recipe.steps = 1;
  Recording begin = run;
  begin.final_values = run.steps[1].values;
  EXPECT_EQ(not_literal(recorded(recipe, model, corpus, kReference), begin), "");
  // A bound that is thousands of times too wide proves nothing.
  EXPECT_GT(smallest_ratio(ratios, "grad/"), 1e-3);
  EXPECT_GT(ratios.bluntest()->second, 1e-3) << ratios.bluntest()->first;
  return ratios;
}

TEST(OneRank, AgreesOnTheDefaultRecipe) {
  Recipe recipe;
  recipe.steps = 200;
  const auto model = [&](std::size_t vocabulary) { return mlp(recipe, vocabulary); };
  print("one rank, default recipe", judged_run(recipe, model));
}

Recipe deep_recipe() {
  Recipe recipe;
  recipe.context = 4;
  recipe.embedding = 6;
  recipe.hidden = 20;
  recipe.layers = 12;
  recipe.init_scale = 8;
  recipe.lr = 0.05F;
  recipe.steps = 200;
  return recipe;
}

TEST(OneRank, AgreesOnADeepRecipe) {
  const Recipe recipe = deep_recipe();
  const auto model = [&](std::size_t vocabulary) { return mlp(recipe, vocabulary); };
  print("one rank, twelve hidden layers", judged_run(recipe, model));
}

TEST(OneRank, AgreesOnADeepResidualModel) {
  const Recipe recipe = deep_recipe();
  for (const bool shared : {false, true}) {
    const auto model = [&](std::size_t vocabulary) {
      return residual_model(recipe, vocabulary, 6, shared);
    };
    print("one rank, six residual blocks", judged_run(recipe, model));
  }
}

TEST(ReferenceTrainer, StopsWhereTheLossIsNotFinite) {
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 2;
  recipe.lr = 1e30F;
  const Corpus corpus("ab\nba\n", recipe.context);
  const Model model = mlp(recipe, corpus.vocabulary());
  const InitialParameters initial(1);
  const auto error_of = [&](const Trainer& train) -> std::pair<std::string, std::size_t> {
    Recording recording;
    Recorder recorder(recording);
    try {
      train({recipe, model, corpus, initial, recorder});
    } catch (const UsageError& error) {
      std::string text = error.what();  // the sign of a NaN is no part of the promise
      if (const auto at = text.find("-nan"); at != std::string::npos) text.erase(at, 1);
      return {text, recording.steps.size()};
    }
    return {"", recording.steps.size()};
  };
  const auto [reference, steps] = error_of(kReference);
  EXPECT_NE(reference.find("training has diverged"), std::string::npos);
  EXPECT_GT(steps, 0U);
  EXPECT_EQ(error_of(train_single), std::pair(reference, steps));
}

}  // namespace
}  // namespace meshparity
