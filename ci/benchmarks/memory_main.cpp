// The peak of resident memory of a training run on one rank, against a bar and beside what is
// known to need it. A process for each model. Prints a line of JSON on stdout and a line for people
// on stderr. Exit 0 if it could be measured.
#include <fmt/format.h>
#include <sys/resource.h>

#include <iostream>
#include <string>
#include <vector>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/timed_training.h"
#include "model/training.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kSteps = 2;  // the second one takes no more
constexpr double kFloat = sizeof(float);

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024 * static_cast<double>(usage.ru_maxrss);
}

/// Floats that one rank cannot do without.
struct Need {
  double parameters = 0;
  double state = 0;        ///< of the optimizer
  double partial = 0;      ///< sums of gradients, beyond one for each parameter: further uses
  double activations = 0;  ///< boundaries, their gradients, and what blocks save
};

Need need_of(const Workload& workload) {
  const Model model = model_of(workload.recipe, workload.corpus.vocabulary());
  const std::size_t rows = workload.recipe.batch * positions_of(workload.recipe);
  Need need;
  std::vector<double> sizes;
  for (const ParameterSpec& parameter : model.parameters) {
    sizes.push_back(static_cast<double>(parameter.size()));
    need.parameters += sizes.back();
    need.partial -= sizes.back();
  }
  if (workload.recipe.optimizer == OptimizerKind::adamw) need.state = 2 * need.parameters;
  AloneGroup alone;
  const Blocks blocks(model, {0, model.blocks.size()}, 1, alone);
  std::size_t widest = 0;
  std::size_t of_row = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    for (const std::size_t parameter : model.blocks[b].uses) need.partial += sizes[parameter];
    const std::size_t width = blocks.boundary(b + 1).width;
    widest = std::max(widest, width);
    of_row += blocks[b].saved() + width;
  }
  need.activations = static_cast<double>(rows * (of_row + widest));
  return need;
}

void measure(const Workload& workload, double per, const char* unit, double bar) {
  const Need need = need_of(workload);
  train_alone(workload.job(), {});
  const auto gigabytes = [](double floats) { return kFloat * floats / 1e9; };
  const double peak = peak_bytes();
  print({"memory", fmt::format("{}, {}", workload.name, unit), peak / per, bar, Good::below,
         fmt::format("{:.2f} GB: parameters {:.2f}, gradients {:.2f}, state {:.2f}, partial sums "
                     "{:.2f}, activations {:.2f}",
                     peak / 1e9, gigabytes(need.parameters), gigabytes(need.parameters),
                     gigabytes(need.state), gigabytes(need.partial), gigabytes(need.activations))});
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 1 && arguments[0] == "gpt2") {
    measure(full_gpt2_workload(kSteps), 1e9, "GB", 2.6);
  } else if (arguments.size() == 2 && arguments[0] == "mlp") {
    const Workload workload = large_mlp_workload(arguments[1], kSteps);
    measure(workload, kFloat * need_of(workload).parameters, "of its parameters", 2.4);
  } else {
    std::cerr << "usage: bench-memory gpt2 | mlp CORPUS\n";
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  return meshparity::bench::run_benchmark(argc, argv, meshparity::bench::run);
}
