#include <algorithm>
#include <array>

#include "golden/check/golden_cases.h"
#include "golden/check/golden_recipe.h"
#include "golden/files/model_file.h"
#include "golden/files/sha256.h"
#include "golden/files/trace_file.h"
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

bool is_checked(const GoldenCase& run) {
  const std::string mesh = to_string(run.how.mesh);
  return run.transport == "none" ||
         std::find(kMeshes.begin(), kMeshes.end(), mesh) != kMeshes.end();
}

PortabilityCheck check(const GoldenRecipe& golden) {
  PortabilityCheck result{golden.name, 0, 0, "", ""};
  const Trace expected = load_trace(golden.trace_path);
  std::string models;
  for (const GoldenCase& run : golden_cases(golden, true, false)) {
    if (!is_checked(run)) continue;
    ++result.compared;
    const Trained trained = train(golden, run);
    models += trained.model;
    const auto difference = compare_prefix(expected, trained.trace);
    if (!difference) {
      ++result.same;
    } else if (result.difference.empty()) {
      result.difference = to_string(run.how.mesh) + ": " + to_string(*difference);
    }
  }
  result.sha256 = sha256(models);
  return result;
}

}  // namespace

std::vector<PortabilityCheck> check_portable_goldens(const std::string& golden_dir) {
  std::vector<PortabilityCheck> checks;
  for (const GoldenRecipe& golden : golden_recipes(golden_dir, "")) checks.push_back(check(golden));
  return checks;
}

}  // namespace meshparity
