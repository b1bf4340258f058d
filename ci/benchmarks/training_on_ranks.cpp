#include <fmt/format.h>

#include <algorithm>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/on_ranks.h"
#include "ci/benchmarks/paired.h"
#include "ci/benchmarks/timed_training.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 9;
constexpr std::size_t kWideSteps = 24;
constexpr std::size_t kDefaultSteps = 2'000;

/// What is compared, in pairs.
class Pairs {
 public:
  void add(const TimedTraining& a, const TimedTraining& b) {
    pairs_.push_back({a.step_seconds, b.step_seconds, std::min(a.core_share, b.core_share)});
  }

  /// Prints a / b, from that half of the pairs which other work on the machine disturbed least.
  void print_ratio(const std::string& part, const std::string& name, double bar, Good good) {
    std::sort(pairs_.begin(), pairs_.end(),
              [](const Pair& x, const Pair& y) { return x.core_share > y.core_share; });
    pairs_.resize((pairs_.size() + 1) / 2);
    std::vector<double> a;
    std::vector<double> b;
    for (const Pair& pair : pairs_) {
      a.push_back(pair.a);
      b.push_back(pair.b);
    }
    print({part, name, paired_ratio(a, b), bar, good,
           fmt::format("{:.3f} / {:.3f} ms a step, with at least {:.0f} % of a core",
                       1e3 * median(a), 1e3 * median(b), 100 * pairs_.back().core_share)});
  }

 private:
  struct Pair {
    double a;
    double b;
    double core_share;
  };
  std::vector<Pair> pairs_;
};

TimedTraining train_together(const Workload& workload, const Parallelism& how, Comm& world) {
  return train_on_the_clock(
      [&](const TrainingSinks& sinks) { train_on(workload.job(how), sinks, world); });
}

void measure_scaling(const Workload& workload, double bar, Comm& world) {
  Parallelism how;
  how.mesh.dp = world.size();
  const bool is_root = world.rank() == 0;
  Pairs pairs;
  for (std::size_t round = 0; round < kRounds; ++round) {
    world.barrier();
    TimedTraining one_rank;
    if (is_root) one_rank = train_alone_on_the_clock(workload);
    world.barrier();
    const TimedTraining mesh = train_together(workload, how, world);
    if (!is_root) continue;
    mesh.require_same_bits(one_rank);
    pairs.add(one_rank, mesh);
  }
  if (!is_root) return;
  pairs.print_ratio("scaling", fmt::format("{}, dp={}, the same bits", workload.name, world.size()),
                    bar, Good::above);
}

void measure_reductions(const Workload& workload, const Mesh& mesh, Comm& world) {
  const auto train = [&](Reduction reduction) {
    Parallelism how;
    how.mesh = mesh;
    how.reduction = reduction;
    world.barrier();
    return train_together(workload, how, world);
  };
  Pairs pairs;
  for (std::size_t round = 0; round < kRounds; ++round) {
    const TimedTraining canonical = train(Reduction::canonical);
    pairs.add(canonical, train(Reduction::native));
  }
  if (world.rank() != 0) return;
  pairs.print_ratio("reductions", fmt::format("{}, {}", workload.name, to_string(mesh)), 1.05,
                    Good::below);
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
