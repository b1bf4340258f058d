#include "property_tests/proof/parity_check.h"

#include <exception>
#include <utility>
#include <vector>

#include "golden/files/corpus_file.h"
#include "golden/jobs/exit_status.h"
#include "model/train_single.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/proof/boundary_digest.h"

namespace meshparity {
namespace {

/// Trains the case, also if training diverges.
void train_watched(Comm& world, const ParityCase& c, const Question& question,
                   StepObserver& observer) {
  const InitialParameters initial(c.recipe.seed);
  entry_of(c.strategy)
      .train({question.recipe, question.model, question.corpus, initial, observer}, c.how, world);
}

}  // namespace

Question::Question(const ParityCase& c, std::optional<Model> its_model)
    : recipe(c.recipe),
      corpus(corpus_of(recipe, c.corpus)),
      model(its_model ? *std::move(its_model) : model_of(recipe, corpus.vocabulary())) {
  Recorder recorder(expected);
  const InitialParameters initial(recipe.seed);
  try {
    train_single({recipe, model, corpus, initial, recorder});
  } catch (const TrainingDiverged& error) {
    expected.divergence = error.what();
  }
}

std::optional<Difference> difference_on(Comm& world, const ParityCase& c,
                                        const Question& question) {
  Comparison comparison(question.expected, world.rank());
  try {
    train_watched(world, c, question, comparison);
  } catch (const TrainingDiverged& error) {
    comparison.diverged(error.what());
  }
  return comparison.result();
}

std::string first_boundary_on(Comm& world, const ParityCase& c, const Question& question) {
  const InitialParameters initial(c.recipe.seed);
  BoundaryDigests expected(question.model, c.recipe.steps);
  BoundaryDigests actual(question.model, c.recipe.steps);
  try {
    train_single({question.recipe, question.model, question.corpus, initial, expected});
  } catch (const TrainingDiverged&) {
    // Up to there, the boundaries are known.
  }
  try {
    train_watched(world, c, question, actual);
  } catch (const TrainingDiverged&) {
    // Every rank has diverged at the same step.
  }
  world.all_reduce_integers(actual.words());
  const std::size_t copies = c.how.mesh[Axis::tp] - 1;
  return expected.first_difference(actual, copies).value_or("none");
}

std::optional<std::string> difference_simulated(const ParityCase& c, const Question& question) {
  std::vector<std::optional<Difference>> differences(c.how.mesh.size());
  SimOptions options = c.world;
  options.ranks = c.how.mesh.size();
  std::string text;
  try {
    run_simulated(options, [&](Comm& world) {
      differences[world.rank()] = difference_on(world, c, question);
    });
    std::optional<Difference> first;
    for (const auto& difference : differences) {
      if (difference && (!first || difference->comes_before(*first))) first = difference;
    }
    if (!first) return std::nullopt;
    text = first->text;
    run_simulated(options, [&](Comm& world) {
      const std::string boundary = first_boundary_on(world, c, question);
      if (world.rank() == 0) text += "\nfirst boundary that differs: " + boundary;
    });
  } catch (const std::exception& error) {
    if (is_of_environment(error)) throw;
    return text.empty() ? error.what() : text;
  }
  return text;
}

}  // namespace meshparity
