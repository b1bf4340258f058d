#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/model_transfer.h"
#include "ci/benchmarks/on_ranks.h"
#include "ci/benchmarks/paired.h"
#include "ci/benchmarks/timed_training.h"
#include "model/model.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 9;
constexpr std::size_t kTransfers = 11;  // in each round
constexpr std::size_t kWideSteps = 24;
constexpr std::size_t kDefaultSteps = 2'000;
constexpr std::size_t kSmallSteps = 20;  // of the small transformer
constexpr std::size_t kFullSteps = 8;    // of the large one, which take seconds
constexpr std::size_t kFullRounds = 3;

/// A mesh for the large transformer, and the bar it is held to.
struct FullMesh {
  const char* mesh;
  double bar;
};
constexpr std::array<FullMesh, 2> kFullMeshes{{{"dp=2", 1.5}, {"tp=2", 1.7}}};

/// What is compared, in pairs.
class Pairs {
 public:
  void add(const TimedTraining& a, const TimedTraining& b) {
    pairs_.push_back({a.step_seconds, b.step_seconds, std::min(a.core_share, b.core_share)});
  }

  /// Prints a / b, from the half of the pairs that other work on the machine disturbed least.
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
  for (const ParameterSpec& parameter :
       model_of(workload.recipe, workload.corpus.vocabulary()).parameters) {
    count += parameter.size();
  }
  return count;
}

/// A part of a workload's batch, as a training run of its own.
Workload share_of_batch(const Workload& workload, std::size_t ranks) {
  Recipe recipe = workload.recipe;
  recipe.batch /= ranks;
  return {workload.name, recipe};
}

/// Of the seconds that all ranks measured.
double slowest(double seconds, Comm& world) {
  const auto mine = static_cast<float>(seconds);
  std::vector<float> all(world.size());
  world.all_gather({&mine, 1}, all, std::vector<std::size_t>(world.size(), 1));
  return *std::ranges::max_element(all);
}

/// What the machine allows: data parallel training must at least train on its share of the batch,
/// on all ranks at once, and send gradients and parameters around.
class Limit {
 public:
  Limit(const Workload& workload, Comm& world)
      : share_(share_of_batch(workload, world.size())),
        world_(world),
        transfer_(parameter_count(workload), world) {}

  /// Collective. `one_rank` is the time of a step on the whole batch, on rank 0.
  void measure(double one_rank) {
    world_.barrier();
    const double share = slowest(train_alone_on_the_clock(share_).step_seconds, world_);
    std::vector<double> transfers(kTransfers);
    for (double& seconds : transfers) seconds = slowest(transfer_.measure(), world_);
    shares_.push_back(share);
    transfers_.push_back(median(std::move(transfers)));
    ratios_.push_back(one_rank / (shares_.back() + transfers_.back()));
  }

  void print_ratio(const std::string& name) const {
    print({"scaling", name, median(ratios_), 0, Good::above,
           fmt::format("{:.3f} ms a step on 1/{} of the batch, {:.3f} ms for what is sent",
                       1e3 * median(shares_), world_.size(), 1e3 * median(transfers_))});
  }

 private:
  Workload share_;
  Comm& world_;
  ModelTransfer transfer_;
  std::vector<double> shares_;
  std::vector<double> transfers_;
  std::vector<double> ratios_;
};

TimedTraining train_together(const Workload& workload, const Parallelism& how, Comm& world) {
  return train_on_the_clock(
      [&](const TrainingSinks& sinks) { train_on(workload.job(how), sinks, world); });
}

void measure_scaling(const Workload& workload, double bar, Comm& world) {
  Parallelism how;
  how.mesh[Axis::dp] = world.size();
  const bool is_root = world.rank() == 0;
  Pairs pairs;
  Limit limit(workload, world);
  for (std::size_t round = 0; round < kRounds; ++round) {
    world.barrier();
    TimedTraining one_rank;
    if (is_root) one_rank = train_alone_on_the_clock(workload);
    world.barrier();
    const TimedTraining mesh = train_together(workload, how, world);
    limit.measure(one_rank.step_seconds);
    if (!is_root) continue;
    mesh.require_same_bits(one_rank);
    pairs.add(one_rank, mesh);
  }
  if (!is_root) return;
  const std::string name = fmt::format("{}, dp={}", workload.name, world.size());
  pairs.print_ratio("scaling", name + ", the same bits", bar, Good::above);
  limit.print_ratio(name + ", allowed by the machine");
}

/// A mesh of the large transformer against one rank, beside what the machine allows: all ranks
/// train at once, each the whole model for itself; of that time a mesh needs its share.
void measure_full_scaling(const Workload& workload, std::span<const FullMesh> meshes, Comm& world) {
  const bool is_root = world.rank() == 0;
  std::vector<Pairs> pairs(meshes.size());
  std::vector<std::vector<double>> of_allowed(meshes.size());
  std::vector<double> allowed;
  for (std::size_t round = 0; round < kFullRounds; ++round) {
    world.barrier();
    TimedTraining one_rank;
    if (is_root) one_rank = train_alone_on_the_clock(workload);
    world.barrier();
    const double all_at_once = slowest(train_alone_on_the_clock(workload).step_seconds, world);
    const double share = all_at_once / static_cast<double>(world.size());
    allowed.push_back(one_rank.step_seconds / share);
    for (std::size_t m = 0; m < meshes.size(); ++m) {
      Parallelism how;
      how.mesh = parse_mesh(meshes[m].mesh);
      world.barrier();
      const TimedTraining mesh = train_together(workload, how, world);
      if (!is_root) continue;
      mesh.require_same_bits(one_rank);
      pairs[m].add(one_rank, mesh);
      of_allowed[m].push_back(share / mesh.step_seconds);
    }
  }
  if (!is_root) return;
  for (std::size_t m = 0; m < meshes.size(); ++m) {
    const std::string name = fmt::format("{}, {}", workload.name, meshes[m].mesh);
    pairs[m].print_ratio("scaling", name + ", the same bits", meshes[m].bar, Good::above);
    print({"scaling", name + ", of what the machine allows", median(of_allowed[m]), 0.9,
           Good::above, fmt::format("it allows {:.3f}", median(allowed))});
  }
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

void measure_full_scaling(Comm& world) {
  measure_full_scaling(full_gpt2_workload(kFullSteps), kFullMeshes, world);
}

void measure_reductions(const std::string& corpus_path, const std::string& mesh, Comm& world) {
  measure_reductions(wide_workload(corpus_path, kWideSteps), parse_mesh(mesh), world);
}

void measure_transformer_reductions(const std::string& mesh, Comm& world) {
  measure_reductions(small_gpt2_workload(kSmallSteps), parse_mesh(mesh), world);
}

}  // namespace meshparity::bench
