// GPT-2 on one rank against the transcription of the contract, bit for bit.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdint>
#include <random>
#include <string>

#include "model/corpus.h"
#include "model/gpt2.h"
#include "model/numerics/functions.h"
#include "model/train_single.h"
#include "oracle/compare.h"
#include "oracle/recording.h"
#include "oracle/reference_trainer.h"
#include "property_tests/oracle/gpt2_cases.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

std::string random_text() {
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  const unsigned letters = 1 + static_cast<unsigned>(random()) % 26;
  std::string text = "a";
  for (int i = 0; i < 300; ++i) {
    const unsigned letter = static_cast<unsigned>(random()) % (letters + 1);
    text += letter == 0 ? '\n' : static_cast<char>(96 + letter);
  }
  return text;
}

template <typename Train>
Recording recorded(const Recipe& recipe, const Model& model, const Corpus& corpus,
                   const Train& train) {
  Recording recording;
  Recorder recorder(recording, true);
  const InitialParameters initial(recipe.seed);
  train(TrainingRun{recipe, model, corpus, initial, recorder});
  return recording;
}

std::string difference(std::size_t step, const std::string& prefix, const FloatTensors& expected,
                       const FloatTensors& actual) {
  std::string found;
  for (const auto& [name, values] : expected) {
    if (found.empty()) found = difference_of(step, prefix + name, values, actual.at(name));
  }
  return found;
}

/// Empty, or where a step differs, causes before effects.
std::string difference(std::size_t s, const Recording::Step& expected,
                       const Recording::Step& actual) {
  std::string found = difference(s, "param/", expected.values, actual.values);
  if (found.empty()) {
    found = difference(s, "exp_avg/", expected.first_moments, actual.first_moments);
  }
  if (found.empty()) {
    found = difference(s, "exp_avg_sq/", expected.second_moments, actual.second_moments);
  }
  for (std::size_t b = 0; b < expected.boundary_values.size() && found.empty(); ++b) {
    found = difference_of(s, "boundary " + std::to_string(b), expected.boundary_values[b],
                          actual.boundary_values.at(b));
  }
  if (found.empty()) found = difference_of(s, "loss", {&expected.loss, 1}, {&actual.loss, 1});
  for (std::size_t b = expected.boundary_gradients.size(); b-- > 0 && found.empty();) {
    found = difference_of(s, "gradient of boundary " + std::to_string(b),
                          expected.boundary_gradients[b], actual.boundary_gradients.at(b));
  }
  return found.empty() ? difference(s, "grad/", expected.gradients, actual.gradients) : found;
}

TEST(OneRankGpt2, IsBitForBitTheTranscription) {
  EXPECT_TRUE(rc::check("one rank is bit for bit literal", [] {
    Recipe recipe = random_gpt2_recipe(3);
    recipe.steps = 4;
    recipe.warmup = *rc::gen::inRange<std::size_t>(0, 3);
    const std::string text = random_text();
    const bool lines = *rc::gen::arbitrary<bool>();
    recipe.form = lines ? DataForm::lines : DataForm::text;
    const Corpus corpus = lines ? Corpus::documents(text, positions_of(recipe))
                                : Corpus::stream(text, positions_of(recipe), false);
    const Model model = gpt2(recipe, corpus.vocabulary());
    const Recording run = recorded(recipe, model, corpus, train_single);
    const Recording expected = recorded(recipe, model, corpus, [](const TrainingRun& reference) {
      train_reference(reference,
                      {portable_exp, portable_log, portable_gelu, portable_gelu_derivative});
    });
    RC_ASSERT(run.steps.size() == recipe.steps);
    RC_ASSERT(expected.steps.size() == recipe.steps);
    for (std::size_t s = 0; s < recipe.steps; ++s) {
      const std::string found = difference(s, expected.steps[s], run.steps[s]);
      if (!found.empty()) RC_FAIL(found);
    }
    const std::string found =
        difference(recipe.steps, "param/", expected.final_values, run.final_values);
    if (!found.empty()) RC_FAIL(found);
  }));
}

}  // namespace
}  // namespace meshparity
