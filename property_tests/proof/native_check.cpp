// Native reductions add in an order nobody knows, so equality of bits is not to be had. What can be
// had: each step, computed from the run's own parameters, lies within the rounding bound that the
// oracle derives for sums of whole leaves in any order.

#include "property_tests/proof/native_check.h"

#include <algorithm>
#include <exception>

#include "golden/jobs/exit_status.h"
#include "model/batch.h"
#include "model/statistics.h"
#include "oracle/judge.h"
#include "oracle/recording.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

/// One step of the run against the oracle's step from the same parameters; the update against the
/// one that the step's own gradients should have made.
std::optional<std::string> judge(const Question& question, const Recording& run, std::size_t number,
                                 double& worst_ratio) {
  const BatchSource batches(question.recipe, question.corpus);
  Batch room = batches.room_for(question.recipe.batch);
  const MicroBatch batch =
      batches.draw(Corpus::Split::training, number, {0, question.recipe.batch}, room);
  const StepUnderTest test{.model = question.model,
                           .batch = batch,
                           .step = run.steps[number],
                           .number = number,
                           .order = SumOrder::leaves};
  // A transformer's bound costs much: of its steps the last one is judged from end to end.
  const bool whole = question.recipe.model == ModelKind::mlp || number + 1 == run.steps.size();
  Judgement judgement = whole ? judge_end_to_end(test) : Judgement{};
  if (judgement.worst() != nullptr) worst_ratio = std::max(worst_ratio, judgement.worst()->second);
  // An update is one rounding, always close to its bound: it is judged, but says little.
  judgement.add(judge_update(test, state_after(run, number), question.recipe));
  return judgement.first_difference;
}

}  // namespace

std::optional<std::string> difference_in(const Recording& run, const ParityCase& c,
                                         const Question& question, double& worst_ratio) {
  if (!run.replicas_differ.empty()) return "ranks disagree about " + run.replicas_differ;
  if (run.steps.size() != c.recipe.steps) return "not every step was reported";
  for (std::size_t step = 0; step < c.recipe.steps; ++step) {
    if (auto difference = judge(question, run, step, worst_ratio)) return difference;
  }
  return std::nullopt;
}

std::optional<std::string> difference_from_oracle(const ParityCase& c, const Question& question,
                                                  double& worst_ratio) {
  const InitialParameters initial(c.recipe.seed);
  Recording run;
  try {
    SimOptions options = c.world;
    options.ranks = c.how.mesh.size();
    run_simulated(options, [&](Comm& world) {
      Recorder recorder(run);
      entry_of(c.strategy)
          .train({question.recipe, question.model, question.corpus, initial, recorder}, c.how,
                 world);
    });
    return difference_in(run, c, question, worst_ratio);
  } catch (const TrainingDiverged& error) {
    // Of a training that diverges on one rank too there is nothing to be held to the oracle.
    if (question.expected.divergence.empty()) return error.what();
    return std::nullopt;
  } catch (const std::exception& error) {
    if (is_of_environment(error)) throw;
    return error.what();
  }
}

}  // namespace meshparity
