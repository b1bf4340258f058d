#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "golden/files/checkpoint.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/checkpoint_saver.h"
#include "golden/jobs/gather.h"
#include "model/observer.h"
#include "parallel/strategy.h"
#include "parallel/transport/comm.h"

/// Runs a trainer and brings what it does to rank 0.
namespace meshparity {

/// What is trained, and how.
struct TrainingJob {
  const Recipe& recipe;
  const Corpus& corpus;
  const ParameterSource& initial;
  Parallelism how;
  std::optional<Strategy> strategy = std::nullopt;  ///< none: the one that goes with the mesh
  /// Steps after which training ends, counted from step 0, if it has more.
  std::size_t stop_after = std::numeric_limits<std::size_t>::max();
  const Checkpoint* from = nullptr;  ///< where it goes on, instead of `initial`
};

/// What updates change, whole, in the order of the model's parameters.
struct StateTensors {
  std::vector<std::vector<float>> parameters;
  /// Of adamw; empty without.
  std::vector<std::vector<float>> first_moments;
  std::vector<std::vector<float>> second_moments;
};

/// Every tensor of a step.
struct StepTensors {
  std::size_t step = 0;
  float loss = 0;
  StateTensors state;                         ///< before the update
  std::vector<std::vector<float>> gradients;  ///< before clipping
  Boundaries boundaries;                      ///< if they are wanted
};

/// What rank 0 is told. Nothing is gathered for a sink that is empty, so it must be empty on all
/// ranks.
struct TrainingSinks {
  /// Without `statistics`, norm and digest are 0.
  std::function<void(const TraceStep&)> step;
  bool statistics = false;
  std::function<void(const StepTensors&)> tensors;
  bool boundaries = false;  ///< with them, what passes between the blocks
  /// After the last of them, if a step was made.
  std::function<void(const StateTensors&)> last_state;
  /// After the last update. The digest is 0 without `statistics`.
  std::function<void(const TraceEnd&)> end;
  std::function<void(std::vector<std::vector<float>>)> parameters;
  /// Where the state is saved: when it is due, and where training ends. All ranks write.
  const CheckpointSaver* saver = nullptr;
  /// On every rank: true once training should end after the step at hand, where this is known to
  /// one rank at least. Asked about ten times a second.
  std::function<bool()> stop_requested;
};

/// The model's parameters, in order.
std::vector<ParameterSpec> parameters_of(const Recipe& recipe, const Corpus& corpus);

/// Whole parameters, as a sink was told them, as a source of values; both must outlive it.
class TrainedParameters final : public ParameterSource {
 public:
  TrainedParameters(std::span<const ParameterSpec> specs,
                    std::span<const std::vector<float>> values)
      : specs_(specs), values_(values) {}

  void fill(const Shard& shard, std::span<float> values) const override;

 private:
  std::span<const ParameterSpec> specs_;
  std::span<const std::vector<float>> values_;
};

/// train_single: this process alone, no communication.
void train_alone(const TrainingJob& job, const TrainingSinks& sinks);

/// Collective: this process is one rank of `world`. Sinks are called on rank 0.
void train_on(const TrainingJob& job, const TrainingSinks& sinks, Comm& world);

/// A whole world in this process. Throws as `run_simulated` does.
void train_simulated(const TrainingJob& job, const TrainingSinks& sinks, std::uint64_t seed);

/// The trace of a run, which is given the sinks to feed. Keeps the steps that `header.every` names.
Trace traced(const TraceHeader& header, const std::function<void(const TrainingSinks&)>& run);

}  // namespace meshparity
