#include <fmt/format.h>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/on_ranks.h"
#include "ci/benchmarks/paired.h"
#include "ci/benchmarks/timed_training.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 9;
constexpr std::size_t kWideSteps = 24;
constexpr std::size_t kDefaultSteps = 2'000;

TimedTraining train_together(const Workload& workload, const Parallelism& how, Comm& world) {
  return train_on_the_clock(
      [&](const TrainingSinks& sinks) { train_on(workload.job(how), sinks, world); });
}

void measure_scaling(const Workload& workload, double bar, Comm& world) {
  Parallelism how;
  how.mesh.dp = world.size();
  const bool is_root = world.rank() == 0;
  std::vector<double> alone;
  std::vector<double> together;
  for (std::size_t round = 0; round < kRounds; ++round) {
    world.barrier();
    TimedTraining one_rank;
    if (is_root) one_rank = train_alone_on_the_clock(workload);
    world.barrier();
    const TimedTraining mesh = train_together(workload, how, world);
    if (!is_root) continue;
    mesh.require_same_bits(one_rank);
    alone.push_back(one_rank.step_seconds);
    together.push_back(mesh.step_seconds);
  }
  if (!is_root) return;
  print({"scaling", fmt::format("{}, dp={} against one rank", workload.name, world.size()),
         paired_ratio(alone, together), bar, Good::above,
         fmt::format("{:.1f} steps/s; one rank {:.1f}; the same bits", 1 / median(together),
                     1 / median(alone))});
}

void measure_reductions(const Workload& workload, const Mesh& mesh, Comm& world) {
  std::vector<double> seconds[2];
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (const Reduction reduction : {Reduction::canonical, Reduction::native}) {
      Parallelism how;
      how.mesh = mesh;
      how.reduction = reduction;
      world.barrier();
      seconds[reduction == Reduction::native ? 1 : 0].push_back(
          train_together(workload, how, world).step_seconds);
    }
  }
  if (world.rank() != 0) return;
  print({"reductions", fmt::format("{}, {}, canonical / native", workload.name, to_string(mesh)),
         paired_ratio(seconds[0], seconds[1]), 1.05, Good::below,
         fmt::format("{:.3f} ms a step; native {:.3f}", 1e3 * median(seconds[0]),
                     1e3 * median(seconds[1]))});
}

}  // namespace

void measure_scaling(const std::string& corpus_path, Comm& world) {
  measure_scaling(wide_workload(corpus_path, kWideSteps), 1.8, world);
  // Too small a model to share out: for information.
  measure_scaling(default_workload(corpus_path, kDefaultSteps), 0, world);
}

void measure_reductions(const std::string& corpus_path, const std::string& mesh, Comm& world) {
  measure_reductions(wide_workload(corpus_path, kWideSteps), parse_mesh(mesh), world);
}

}  // namespace meshparity::bench
