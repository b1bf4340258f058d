#include <algorithm>
#include <array>

#include "golden/check/golden_cases.h"
#include "golden/check/golden_recipe.h"
#include "golden/files/checkpoint.h"
#include "golden/files/file_io.h"
#include "golden/files/model_file.h"
#include "golden/files/sha256.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/checkpoint_saver.h"
#include "golden/jobs/temporary_folder.h"
#include "golden/jobs/training_job.h"
#include "golden/programs/portability.h"

namespace meshparity {
namespace {

/// Each recipe's meshes, besides one rank: three axes with a deeper pipeline, and all four.
constexpr std::array<const char*, 2> kMeshes = {"dp=2,tp=2,pp=3", "dp=2,fsdp=2,tp=2,pp=2"};

struct Trained {
  Trace trace;
  std::string model;  // the bytes of its safetensors file
};

Trained train(const GoldenRecipe& golden, const GoldenCase& run) {
  Trained trained;
  trained.trace = traced(golden, run.steps, 1, [&](TrainingJob job, TrainingSinks sinks) {
    sinks.parameters = [&](std::vector<std::vector<float>> values) {
      trained.model = safetensors_bytes(model_file(job.recipe, golden.corpus, golden.corpus_sha256,
                                                   parameters_of(job.recipe, golden.corpus),
                                                   std::move(values)));
    };
    job.how = run.how;
    job.strategy = run.strategy;
    if (run.transport == "none") {
      train_alone(job, sinks);
    } else {
      train_simulated(job, sinks, run.how.mesh.size());
    }
  });
  return trained;
}

/// Half the steps of a case on one rank, then from the file that this leaves to the end on the
/// case's mesh. Adds the files' bytes, which any machine writes, to `files`.
Trace stop_and_go_on(const GoldenRecipe& golden, const GoldenCase& run, std::string& files) {
  const TemporaryFolder folder;
  const CheckpointSaver saver(
      {.folder = folder.path().string()},
      checkpoint_header(golden.recipe, golden.corpus, golden.corpus_sha256));
  std::vector<Trace> parts;
  parts.push_back(
      traced(golden, run.steps / 2, 1, [&](const TrainingJob& job, TrainingSinks sinks) {
        sinks.saver = &saver;
        train_alone(job, sinks);
      }));
  const Checkpoint from(checkpoints_in(folder.path().string()).back().path);
  TraceHeader header = golden.header();
  header.continues = {from.header().step, from.header().digest};
  parts.push_back(traced(header, [&](TrainingSinks sinks) {
    sinks.saver = &saver;
    const InitialParameters unused(0);
    train_simulated({.recipe = golden.recipe,
                     .corpus = golden.corpus,
                     .initial = unused,
                     .how = run.how,
                     .strategy = run.strategy,
                     .stop_after = run.steps,
                     .from = &from},
                    sinks, 0);
  }));
  for (const StoredCheckpoint& left : checkpoints_in(folder.path().string())) {
    files += read_file(left.path, "checkpoint");
  }
  return joined(parts);
}

bool is_checked(const GoldenCase& run) {
  const std::string mesh = to_string(run.how.mesh);
  return run.transport == "none" ||
         std::find(kMeshes.begin(), kMeshes.end(), mesh) != kMeshes.end();
}

PortabilityCheck check(const GoldenRecipe& golden, bool all_steps) {
  PortabilityCheck result{golden.name, 0, 0, "", ""};
  const Trace expected = load_trace(golden.trace_path);
  std::string models;
  const auto judge = [&](const std::string& what, const Trace& trace) {
    ++result.compared;
    const auto difference = compare_prefix(expected, trace);
    if (!difference) {
      ++result.same;
    } else if (result.difference.empty()) {
      result.difference = what + ": " + to_string(*difference);
    }
  };
  std::vector<GoldenCase> cases = golden_cases(golden, true, false);
  std::erase_if(cases, [](const GoldenCase& run) { return !is_checked(run); });
  const GoldenCase to_the_end = cases.front();
  cases.front().steps = cases.back().steps;
  for (const GoldenCase& run : cases) {
    const Trained trained = train(golden, run);
    models += trained.model;
    judge(to_string(run.how.mesh), trained.trace);
    if (run.transport == "none") continue;
    judge("stopped, and gone on with " + to_string(run.how.mesh),
          stop_and_go_on(golden, run, models));
  }
  // No part of the SHA-256, so that machines that leave it out have the same.
  if (all_steps) judge("one rank to the end", train(golden, to_the_end).trace);
  result.sha256 = sha256(models);
  return result;
}

}  // namespace

std::vector<PortabilityCheck> check_portable_goldens(const std::string& golden_dir,
                                                     bool all_steps) {
  std::vector<PortabilityCheck> checks;
  for (const GoldenRecipe& golden : golden_recipes(golden_dir, "")) {
    checks.push_back(check(golden, all_steps));
  }
  return checks;
}

}  // namespace meshparity
