#include "property_tests/proof/parity_check.h"

#include <bit>
#include <exception>
#include <span>
#include <utility>
#include <vector>

#include "golden/files/corpus_file.h"
#include "golden/jobs/exit_status.h"
#include "model/statistics.h"
#include "model/train_single.h"
#include "oracle/compare.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/proof/boundary_digest.h"

namespace meshparity {
namespace {

/// The sign of a NaN is no part of the promise.
std::string without_sign_of_nan(std::string text) {
  if (const std::size_t at = text.find("-nan"); at != std::string::npos) text.erase(at, 1);
  return text;
}

/// Compares, and remembers the first difference.
class Comparison final : public StepObserver {
 public:
  Comparison(const Recording& expected, std::size_t rank) : expected_(expected), rank_(rank) {}
  bool wants_statistics() const override { return true; }

  void step(const StepView& view) override {
    ++steps_;
    if (found_ || view.step >= expected_.steps.size()) return;
    const Recording::Step& expected = expected_.steps[view.step];
    // Cause before effect: what the step started from, then the gradient, before the optimizer.
    compare_values(view, expected.values);
    for (const ShardView& shard : view.shards) {
      compare(view.step, Kind::gradient, shard, expected.gradients, shard.gradient);
    }
    note(view.step, Kind::loss,
         first_difference(view.step, scalar_spec("loss"), Exact({&expected.loss, 1}),
                          {&view.loss, 1}));
    if (found_) return;
    if (std::bit_cast<std::uint64_t>(view.gradient_norm) !=
            std::bit_cast<std::uint64_t>(expected.gradient_norm) ||
        view.digest != expected.digest) {
      found_ = {view.step, Kind::statistics,
                "step " + std::to_string(view.step) + ", rank " + std::to_string(rank_) +
                    ": every shard of this rank agrees, but gradient norm or digest do not: the "
                    "counted shards do not cover each element once"};
    }
  }

  void finished(const StepView& view) override {
    ++ends_;
    compare_values(view, expected_.final_values);
  }

  void diverged(const std::string& how) { divergence_ = how; }

  std::optional<Difference> result() {
    if (!found_ && without_sign_of_nan(divergence_) != without_sign_of_nan(expected_.divergence)) {
      found_ = {steps_, Kind::missing,
                "rank " + std::to_string(rank_) + " ended with '" + divergence_ +
                    "', one rank with '" + expected_.divergence + "'"};
    }
    const std::size_t ends = expected_.divergence.empty() ? 1 : 0;
    if (!found_ && (steps_ != expected_.steps.size() || ends_ != ends)) {
      found_ = {steps_, Kind::missing,
                "rank " + std::to_string(rank_) + " reported " + std::to_string(steps_) +
                    " steps of " + std::to_string(expected_.steps.size())};
    }
    return found_;
  }

 private:
  using Kind = Difference::Kind;

  void compare_values(const StepView& view, const FloatTensors& expected) {
    for (const std::span<const ShardView> views : {view.shards, view.copies}) {
      for (const ShardView& shard : views) {
        compare(view.step, Kind::parameter, shard, expected, shard.values);
      }
    }
  }

  void compare(std::size_t step, Kind kind, const ShardView& view, const FloatTensors& expected,
               std::span<const float> actual) {
    if (found_) return;
    const Exact exact(expected.at(view.shard->spec.name));
    if (!first_difference(step, *view.shard, rank_, exact, actual)) return;
    Shard named = *view.shard;
    named.spec.name = (kind == Kind::parameter ? "param/" : "grad/") + named.spec.name;
    note(step, kind, first_difference(step, named, rank_, exact, actual));
  }
  void note(std::size_t step, Kind kind, const std::optional<FirstDifference>& difference) {
    if (!found_ && difference) found_ = {step, kind, difference->text};
  }

  const Recording& expected_;
  std::size_t rank_;
  std::size_t steps_ = 0;
  std::size_t ends_ = 0;
  std::string divergence_;
  std::optional<Difference> found_;
};

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
