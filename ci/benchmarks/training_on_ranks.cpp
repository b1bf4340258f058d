#include <fmt/format.h>

#include <algorithm>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/on_ranks.h"
#include "ci/benchmarks/paired.h"
#include "ci/benchmarks/timed_training.h"
#include "ci/benchmarks/unshared_work.h"
#include "model/model.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 9;
constexpr std::size_t kTransfers = 11;  // in each round
constexpr std::size_t kWideSteps = 24;
constexpr std::size_t kDefaultSteps = 2'000;

/// What is compared, in pairs.
class Pairs {
 public:
  void add(const TimedTraining& a, const TimedTraining& b) {
    pairs_.push_back({a.step_seconds, b.step_seconds, std::min(a.core_share, b.core_share)});
  }

  double median_a() const {
    std::vector<double> a;
    for (const Pair& pair : pairs_) a.push_back(pair.a);
    return median(std::move(a));
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

std::size_t parameter_count(const Workload& workload) {
  std::size_t count = 0;
  for (const LayerSpec& layer : model_layers(workload.recipe, workload.corpus.vocabulary())) {
    for (const ParameterSpec& parameter : parameters_of(layer)) count += parameter.size();
  }
  return count;
}

/// How fast data parallel training could be if its unshared work were all that is not shared out.
class Limit {
 public:
  Limit(const Workload& workload, Comm& world)
      : world_(world), unshared_(parameter_count(workload), world) {}

  /// Collective.
  void measure() {
    for (std::size_t i = 0; i < kTransfers; ++i) {
      const UnsharedWork::Seconds seconds = unshared_.measure();
      transfer_.push_back(seconds.transfer);
      update_.push_back(seconds.update);
    }
  }

  void print_ratio(const std::string& name, double one_rank) const {
    const double transfer = median(transfer_);
    const double update = median(update_);
    const double shared = (one_rank - update) / static_cast<double>(world_.size());
    print({"scaling", name, one_rank / (shared + transfer + update), 0, Good::above,
           fmt::format("{:.3f} ms to receive the gradients, {:.3f} ms to update all parameters",
                       1e3 * transfer, 1e3 * update)});
  }

 private:
  Comm& world_;
  UnsharedWork unshared_;
  std::vector<double> transfer_;
  std::vector<double> update_;
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
  Limit limit(workload, world);
  for (std::size_t round = 0; round < kRounds; ++round) {
    world.barrier();
    TimedTraining one_rank;
    if (is_root) one_rank = train_alone_on_the_clock(workload);
    world.barrier();
    const TimedTraining mesh = train_together(workload, how, world);
    limit.measure();
    if (!is_root) continue;
    mesh.require_same_bits(one_rank);
    pairs.add(one_rank, mesh);
  }
  if (!is_root) return;
  const std::string name = fmt::format("{}, dp={}", workload.name, world.size());
  pairs.print_ratio("scaling", name + ", the same bits", bar, Good::above);
  limit.print_ratio(name + ", allowed by gradients and updates alone", pairs.median_a());
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
