#include "golden/jobs/training_job.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

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

std::size_t first_step(const TrainingJob& job) {
  return job.from == nullptr ? 0 : job.from->header().step;
}

/// Gathers what the sinks want: collective; rank 0 passes it on.
class Observer final : public StepObserver, private BoundaryObserver {
 public:
  /// `world` is null where there is no communication.
  Observer(const TrainingJob& job, const Model& model, const TrainingSinks& sinks, Comm* world)
      : job_(job),
        specs_(model.parameters),
        has_moments_(job.recipe.optimizer == OptimizerKind::adamw),
        sinks_(sinks),
        world_(world),
        is_root_(world == nullptr || world->rank() == 0),
        next_poll_(first_step(job)),
        last_poll_(next_poll_) {}

  bool wants_statistics() const override { return sinks_.statistics; }

  BoundaryObserver* boundaries() override { return sinks_.boundaries ? this : nullptr; }

  bool goes_on(const StepView& view) override {
    const std::size_t first = first_step(job_);
    if (view.step == first) require_state(view);
    if (view.step >= job_.stop_after || stop_agreed(view.step)) return false;
    if (sinks_.saver != nullptr && view.step > first && sinks_.saver->due(view.step)) save(view);
    return true;
  }

  void step(const StepView& view) override {
    if (sinks_.tensors) {
      const StepTensors tensors{view.step, view.loss, gather_state(view.shards),
                                gather(view.shards, Gathered::gradients), gather_boundaries()};
      if (is_root_) sinks_.tensors(tensors);
    }
    if (sinks_.step && is_root_) {
      sinks_.step({view.step, view.loss, view.gradient_norm, view.digest});
    }
  }

  void finished(const StepView& view) override {
    if (view.step == first_step(job_)) require_state(view);
    if (sinks_.saver != nullptr && (job_.from == nullptr || view.step > first_step(job_))) {
      save(view);
    }
    const std::uint64_t digest = sinks_.statistics ? digest_of_all(view.shards) : 0;
    if (sinks_.end && is_root_) sinks_.end({view.step, digest, view.step < job_.recipe.steps});
    if (sinks_.last_state && view.step > first_step(job_)) {
      const StateTensors state = gather_state(view.shards);
      if (is_root_) sinks_.last_state(state);
    }
    if (!sinks_.parameters) return;
    std::vector<std::vector<float>> parameters = gather(view.shards, Gathered::values);
    if (is_root_) sinks_.parameters(std::move(parameters));
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// What was read is what was written, on all ranks together.
  void require_state(const StepView& view) {
    if (job_.from == nullptr) return;
    const std::uint64_t digest = digest_of_all(view.shards);
    if (digest != job_.from->header().digest) job_.from->refuse(digest);
  }

  void save(const StepView& view) { sinks_.saver->save(view, world_); }

  /// Signals reach ranks at different steps, so ranks agree, and rank 0 says when again: steps are
  /// often shorter than it takes to agree.
  bool stop_agreed(std::size_t step) {
    if (!sinks_.stop_requested || step < next_poll_) return false;
    std::array<std::uint64_t, 2> words{sinks_.stop_requested() ? 1U : 0U,
                                       is_root_ ? pause(step) : 0U};
    if (world_ != nullptr) world_->all_reduce_integers(words);
    next_poll_ = step + words[1];
    return words[0] > 0;
  }

  /// Steps in a tenth of a second, as they went since the last poll, and at most twice as many.
  std::uint64_t pause(std::size_t step) {
    constexpr double kSeconds = 0.1;
    const Clock::time_point now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - last_time_).count();
    const auto made = static_cast<double>(step - last_poll_);
    last_time_ = now;
    last_poll_ = step;
    const double steps = std::min(2 * made, made * kSeconds / std::max(seconds, 1e-9));
    return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(steps));
  }

  std::vector<std::vector<float>> gather(std::span<const ShardView> shards, Gathered what) {
    if (world_ == nullptr) return copy_parameters(shards, what);
    return gather_parameters(specs_, shards, what, *world_);
  }

  void value(const BoundaryView& view) override { keep(view, false); }
  void gradient(const BoundaryView& view) override { keep(view, true); }
  void keep(const BoundaryView& view, bool is_gradient) {
    if (!view.counted) return;
    pieces_.push_back({view.boundary,
                       is_gradient,
                       view.batch->slots.begin * view.batch->leaves.positions,
                       view.width,
                       view.features,
                       {view.values.begin(), view.values.end()}});
  }

  Boundaries gather_boundaries() {
    if (!sinks_.boundaries) return {};
    const std::size_t rows = job_.recipe.batch * positions_of(job_.recipe);
    const std::vector<BoundaryPiece> pieces = std::exchange(pieces_, {});
    return world_ == nullptr ? join_boundaries(pieces, rows)
                             : meshparity::gather_boundaries(pieces, rows, *world_);
  }

  StateTensors gather_state(std::span<const ShardView> shards) {
    StateTensors state{gather(shards, Gathered::values), {}, {}};
    if (!has_moments_) return state;
    state.first_moments = gather(shards, Gathered::first_moments);
    state.second_moments = gather(shards, Gathered::second_moments);
    return state;
  }

  std::uint64_t digest_of_all(std::span<const ShardView> shards) {
    std::uint64_t digest = digest_of_counted(shards);
    if (world_ != nullptr) world_->all_reduce_integers({&digest, 1});
    return digest;
  }

  const TrainingJob& job_;
  const std::vector<ParameterSpec>& specs_;
  bool has_moments_;
  const TrainingSinks& sinks_;
  Comm* world_;
  bool is_root_;
  std::vector<BoundaryPiece> pieces_;  // of the step that is being made
  std::size_t next_poll_;              // the step of it
  std::size_t last_poll_;
  Clock::time_point last_time_ = Clock::now();
};

/// Trains, from where the job begins.
template <typename Train>
void train_watched(const TrainingJob& job, const TrainingSinks& sinks, Comm* world, Train train) {
  const Model model = model_of(job.recipe, job.corpus.vocabulary());
  Observer observer(job, model, sinks, world);
  if (job.from == nullptr) {
    train(TrainingRun{job.recipe, model, job.corpus, job.initial, observer});
    return;
  }
  const CheckpointSources from(*job.from);
  train(TrainingRun{job.recipe, model, job.corpus, from.parameters(), observer, from.start()});
}

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
  train_watched(job, sinks, nullptr, train_single);
  check_floating_point_environment();
}

void train_on(const TrainingJob& job, const TrainingSinks& sinks, Comm& world) {
  const Strategy strategy = job.strategy.value_or(strategy_for(job.how.mesh));
  train_watched(job, sinks, &world,
                [&](const TrainingRun& run) { entry_of(strategy).train(run, job.how, world); });
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
