#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/observer.h"

/// All that a training run shows, put together from its ranks.
namespace meshparity {

/// Whole tensors by parameter name, row-major.
using FloatTensors = std::map<std::string, std::vector<float>>;

/// All that an update changes.
struct TrainedState {
  FloatTensors values;
  FloatTensors first_moments;  ///< of adamw; sgd has none
  FloatTensors second_moments;
};

struct Recording {
  struct Step {
    float loss = 0;
    double gradient_norm = 0;
    std::uint64_t digest = 0;
    FloatTensors values;  ///< before the update
    FloatTensors gradients;
    FloatTensors first_moments;  ///< before the update, if the optimizer has any
    FloatTensors second_moments;
    /// By boundary of the model, whole: (samples, width). Empty unless asked for; nothing stands
    /// at boundary 0, where the first block reads tokens.
    std::vector<std::vector<float>> boundary_values;
    std::vector<std::vector<float>> boundary_gradients;
    std::size_t reports = 0;  ///< ranks that completed it; 0 if it only shows boundaries
  };
  std::vector<Step> steps;
  FloatTensors final_values;
  FloatTensors final_first_moments;
  FloatTensors final_second_moments;
  std::string divergence;       ///< the error that ended training, if one did
  std::string replicas_differ;  ///< what ranks that should agree did not agree on; empty: nothing
};

/// What step `step` of a run made: the state before the next one, or the final one.
TrainedState state_after(const Recording& run, std::size_t step);

/// Records a run. Each rank has a recorder of its own, all on one recording, which takes what they
/// report in any order but never at the same time. Shards are written whether counted or not, so
/// of copies that differ the last one stays.
class Recorder final : public StepObserver, private BoundaryObserver {
 public:
  /// `recording` must outlive it.
  explicit Recorder(Recording& recording, bool with_boundaries = false)
      : recording_(recording), with_boundaries_(with_boundaries) {}

  bool wants_statistics() const override { return true; }
  BoundaryObserver* boundaries() override { return with_boundaries_ ? this : nullptr; }
  void step(const StepView& view) override;
  void finished(const StepView& view) override;

 private:
  void value(const BoundaryView& view) override;
  void gradient(const BoundaryView& view) override;
  Recording::Step& step_of(std::size_t number);

  Recording& recording_;
  bool with_boundaries_;
};

}  // namespace meshparity
