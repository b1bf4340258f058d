#include "property_tests/proof/resume_check.h"

#include <exception>
#include <vector>

#include "golden/files/checkpoint.h"
#include "golden/files/number_text.h"
#include "golden/jobs/temporary_folder.h"
#include "golden/jobs/training_job.h"
#include "oracle/compare.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

constexpr const char* kNoCorpusFile = "0000000000000000";  // a checkpoint's text about it

/// One rank's state when `step` steps were made.
TrainedState state_at(const Recording& run, std::size_t step) {
  if (step > 0) return state_after(run, step - 1);
  const Recording::Step& first = run.steps.front();
  return {first.values, first.first_moments, first.second_moments};
}

std::optional<std::string> difference_in(const TraceStep& actual, const Recording& expected) {
  const std::string where = "step " + std::to_string(actual.step) + ", ";
  if (actual.step >= expected.steps.size()) return where + "which one rank has not made";
  const Recording::Step& step = expected.steps[actual.step];
  if (actual.digest != step.digest) {
    return where + "digest of the state before it: expected " + digest_text(step.digest) +
           ", got " + digest_text(actual.digest);
  }
  if (!same_float(actual.loss, step.loss)) {
    return where + "loss: expected " + hex_text(static_cast<double>(step.loss)) + ", got " +
           hex_text(static_cast<double>(actual.loss));
  }
  if (actual.gradient_norm != step.gradient_norm) return where + "the norm of the gradient";
  return std::nullopt;
}

/// Every element of every part of a checkpoint against one rank's.
std::optional<std::string> difference_in(const Checkpoint& checkpoint, const Recording& expected) {
  const TrainedState state = state_at(expected, checkpoint.header().step);
  for (const StatePart part : checkpoint.header().parts()) {
    const FloatTensors& tensors = part == StatePart::parameters      ? state.values
                                  : part == StatePart::first_moments ? state.first_moments
                                                                     : state.second_moments;
    for (const ParameterSpec& spec : checkpoint.specs()) {
      std::vector<float> values(spec.size());
      checkpoint.read(part, Shard(spec), values);
      ParameterSpec named = spec;
      named.name = std::string(prefix_of(part)) + spec.name;
      const Exact exact(tensors.at(spec.name));
      const auto found = first_difference(checkpoint.header().step, named, exact, values);
      if (found) return "checkpoint: " + found->text;
    }
  }
  return std::nullopt;
}

/// Trains one leg. Returns what went wrong, TrainingDiverged's message in `divergence`.
std::optional<std::string> train_leg(const ResumeCase::Leg& leg, const Question& question,
                                     const Checkpoint* from, const CheckpointSaver& saver,
                                     std::string& divergence) {
  const InitialParameters initial(question.recipe.seed);
  const TrainingJob job{.recipe = question.recipe,
                        .corpus = question.corpus,
                        .initial = initial,
                        .how = leg.how.how,
                        .strategy = leg.how.strategy,
                        .stop_after = leg.stop,
                        .from = from};
  std::optional<std::string> difference;
  TrainingSinks sinks;
  sinks.statistics = true;
  sinks.saver = &saver;
  sinks.step = [&](const TraceStep& step) {
    if (!difference) difference = difference_in(step, question.expected);
  };
  SimOptions world = leg.how.world;
  world.ranks = leg.how.how.mesh.size();
  try {
    run_simulated(world, [&](Comm& comm) { train_on(job, sinks, comm); });
  } catch (const TrainingDiverged& error) {
    divergence = error.what();
  }
  return difference;
}

}  // namespace

std::optional<std::string> difference_resumed(const ResumeCase& c, const Question& question) {
  const TemporaryFolder folder(folder_in_memory());
  std::optional<Checkpoint> from;
  std::string divergence;
  try {
    for (std::size_t i = 0; i < c.legs.size() && divergence.empty(); ++i) {
      const ResumeCase::Leg& leg = c.legs[i];
      const CheckpointSaver saver(
          {.folder = folder.path().string(), .layout = leg.layout, .keep = 1},
          checkpoint_header(question.recipe, question.corpus, kNoCorpusFile));
      auto difference = train_leg(leg, question, from ? &*from : nullptr, saver, divergence);
      if (difference || !divergence.empty()) {
        if (difference) return "leg " + std::to_string(i) + ", " + *difference;
        break;
      }
      const std::vector<StoredCheckpoint> left = checkpoints_in(folder.path().string());
      if (left.size() != 1 || left.front().step != leg.stop) {
        return "leg " + std::to_string(i) + " left no checkpoint of its last step";
      }
      from.emplace(left.front().path);
      // What one rank made in the step before it diverged, nobody has seen.
      const std::vector<Recording::Step>& seen = question.expected.steps;
      if (!question.expected.divergence.empty() && leg.stop == seen.size()) continue;
      difference = difference_in(*from, question.expected);
      if (difference) return "leg " + std::to_string(i) + ", " + *difference;
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  if (same_divergence(divergence, question.expected.divergence)) return std::nullopt;
  return "it ended with '" + divergence + "', one rank with '" + question.expected.divergence + "'";
}

}  // namespace meshparity
