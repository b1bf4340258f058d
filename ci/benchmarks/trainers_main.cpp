// One rank's steps per second against PyTorch's, in turns. Prints a line of JSON for each model on
// stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/paired.h"
#include "ci/benchmarks/timed_training.h"
#include "golden/jobs/child_process.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 9;
constexpr std::size_t kFullRounds = 3;  // of a model whose steps take seconds
constexpr std::chrono::minutes kDeadline{5};

/// How PyTorch is run: an interpreter, and a script for each model.
struct Torch {
  std::string python;
  std::string mlp_script;
  std::string gpt2_script;
};

/// A command that trains what the workload says.
std::vector<std::string> torch_command(const Torch& torch, const Workload& workload,
                                       std::size_t steps) {
  const Recipe& recipe = workload.recipe;
  const bool mlp = recipe.model == ModelKind::mlp;
  std::vector<std::string> command{torch.python, mlp ? torch.mlp_script : torch.gpt2_script};
  const auto option = [&](const char* name, auto value) {
    command.push_back(fmt::format("--{}={}", name, value));
  };
  option("vocabulary", workload.corpus.vocabulary());
  option("batch", recipe.batch);
  option("steps", steps);
  if (mlp) {
    option("context", recipe.context);
    option("embedding", recipe.embedding);
    option("hidden", recipe.hidden);
  } else {
    option("layers", recipe.layers);
    option("heads", recipe.heads);
    option("channels", recipe.channels);
    option("positions", recipe.positions);
    option("sequence", positions_of(recipe));
    option("clip", recipe.clip);
  }
  return command;
}

double torch_step_seconds(const Torch& torch, const Workload& workload, std::size_t steps) {
  const ChildResult child = run_child(torch_command(torch, workload, steps), kDeadline);
  if (child.status != 0) throw std::runtime_error("PyTorch failed: " + child.errors);
  return 1 / std::stod(child.output);
}

void measure(const Workload& workload, const Torch& torch, std::size_t torch_steps, double bar,
             std::size_t rounds = kRounds) {
  std::vector<double> ours;
  std::vector<double> theirs;
  for (std::size_t round = 0; round < rounds; ++round) {
    ours.push_back(step_processor_seconds(
        [&](const TrainingSinks& sinks) { train_alone(workload.job(), sinks); },
        workload.recipe.steps));
    theirs.push_back(torch_step_seconds(torch, workload, torch_steps));
  }
  print({"trainers", workload.name, paired_ratio(theirs, ours), bar, Good::above,
         fmt::format("{:.2f} steps/s; PyTorch {:.2f}", 1 / median(ours), 1 / median(theirs))});
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() != 4) {
    std::cerr << "usage: bench-trainers CORPUS PYTHON TORCH_MLP TORCH_GPT2\n";
    return 2;
  }
  const Torch torch{arguments[1], arguments[2], arguments[3]};
  measure(default_workload(arguments[0], 20'000), torch, 4'000, 5);
  measure(wide_workload(arguments[0], 60), torch, 60, 1.1);
  measure(small_gpt2_workload(40), torch, 30, 1.5);
  measure(full_gpt2_workload(7), torch, 4, 1.35, kFullRounds);
  return 0;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  return meshparity::bench::run_benchmark(argc, argv, meshparity::bench::run);
}
