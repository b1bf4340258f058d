#include "golden/jobs/training_job.h"

#include <algorithm>

#include "golden/jobs/gather.h"
#include "model/model.h"
#include "model/numerics/floating_point.h"
#include "model/statistics.h"
#include "model/train_single.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

/// The parameters of a rank that holds everything.
std::vector<std::vector<float>> copy_parameters(std::span<const ShardView> shards, Gathered what) {
  std::vector<std::vector<float>> whole;
  for (const ShardView& view : shards) {
    const std::span<const float> from = part_of(view, what);
    whole.emplace_back(from.begin(), from.end());
  }
  return whole;
}

/// Gathers what the sinks want: collective; rank 0 passes it on.
class Observer final : public StepObserver {
 public:
  /// `world` is null where there is no communication.
  Observer(const TrainingJob& job, const Model& model, const TrainingSinks& sinks, Comm* world)
      : specs_(model.parameters),
        has_moments_(job.recipe.optimizer == OptimizerKind::adamw),
        steps_(job.recipe.steps),
        sinks_(sinks),
        world_(world),
        is_root_(world == nullptr || world->rank() == 0) {}

  bool wants_statistics() const override { return sinks_.statistics; }

  void step(const StepView& view) override {
    if (sinks_.tensors) {
      StepTensors tensors{view.step,
                          view.loss,
                          gather(view.shards, Gathered::values),
                          gather(view.shards, Gathered::gradients),
                          {},
                          {}};
      if (has_moments_) {
        tensors.first_moments = gather(view.shards, Gathered::first_moments);
        tensors.second_moments = gather(view.shards, Gathered::second_moments);
      }
      if (is_root_) sinks_.tensors(tensors);
    }
    if (sinks_.step && is_root_) {
      sinks_.step({view.step, view.loss, view.gradient_norm, view.digest});
    }
  }

  void finished(const StepView& view) override {
    const std::uint64_t digest = sinks_.statistics ? digest_of_all(view.shards) : 0;
    if (sinks_.end && is_root_) sinks_.end({view.step, digest, view.step < steps_});
    if (!sinks_.parameters) return;
    std::vector<std::vector<float>> parameters = gather(view.shards, Gathered::values);
    if (is_root_) sinks_.parameters(std::move(parameters));
  }

 private:
  std::vector<std::vector<float>> gather(std::span<const ShardView> shards, Gathered what) {
    if (world_ == nullptr) return copy_parameters(shards, what);
    return gather_parameters(specs_, shards, what, *world_);
  }

  std::uint64_t digest_of_all(std::span<const ShardView> shards) {
    std::uint64_t digest = 0;
    for (const ShardView& view : shards) {
      if (view.counted) digest += digest_of(view);
    }
    if (world_ != nullptr) world_->all_reduce_integers({&digest, 1});
    return digest;
  }

  const std::vector<ParameterSpec>& specs_;
  bool has_moments_;
  std::size_t steps_;
  const TrainingSinks& sinks_;
  Comm* world_;
  bool is_root_;
};

}  // namespace

std::vector<ParameterSpec> parameters_of(const Recipe& recipe, const Corpus& corpus) {
  return model_of(recipe, corpus.vocabulary()).parameters;
}

void TrainedParameters::fill(const Shard& shard, std::span<float> values) const {
  for (std::size_t p = 0; p < specs_.size(); ++p) {
    if (specs_[p].name != shard.spec.name) continue;
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = values_[p][shard.global_index(i)];
    }
  }
}

void train_alone(const TrainingJob& job, const TrainingSinks& sinks) {
  const Model model = model_of(job.recipe, job.corpus.vocabulary());
  Observer observer(job, model, sinks, nullptr);
  train_single({job.recipe, model, job.corpus, job.initial, observer, job.stop_after});
  check_floating_point_environment();
}

void train_on(const TrainingJob& job, const TrainingSinks& sinks, Comm& world) {
  const Strategy strategy = job.strategy.value_or(strategy_for(job.how.mesh));
  const Model model = model_of(job.recipe, job.corpus.vocabulary());
  Observer observer(job, model, sinks, &world);
  entry_of(strategy).train({job.recipe, model, job.corpus, job.initial, observer, job.stop_after},
                           job.how, world);
}

void train_simulated(const TrainingJob& job, const TrainingSinks& sinks, std::uint64_t seed) {
  SimOptions options;
  options.ranks = job.how.mesh.size();
  options.seed = seed;
  run_simulated(options, [&](Comm& world) { train_on(job, sinks, world); });
}

Trace traced(const TraceHeader& header, const std::function<void(const TrainingSinks&)>& run) {
  Trace trace{header, {}, {}};
  TrainingSinks sinks;
  sinks.statistics = true;
  sinks.step = [&](const TraceStep& step) {
    if (is_recorded(step.step, header.every, header.recipe.steps)) trace.steps.push_back(step);
  };
  sinks.end = [&](const TraceEnd& end) { trace.end = end; };
  run(sinks);
  return trace;
}

}  // namespace meshparity
