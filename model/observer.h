#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "model/batch.h"
#include "model/corpus.h"
#include "model/error.h"
#include "model/model.h"
#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity {

/// A rank's part of one parameter, as an observer sees it.
struct ShardView {
  const Shard* shard = nullptr;
  bool counted = true;  ///< false on all but one of the ranks that hold copies of this shard
  std::span<const float> values;  ///< before the update
  /// Of the mean loss over the global batch, before clipping. Empty after the end.
  std::span<const float> gradient;
  /// The optimizer's state, if it has any (AdamW's moving averages of the gradient and its square),
  /// before the update.
  std::span<const float> first_moment{};
  std::span<const float> second_moment{};
};

/// One training step as one rank sees it: after the gradients are complete, before the update.
struct StepView {
  std::size_t step = 0;
  float loss = 0;            ///< mean over the global batch, the same on every rank
  double gradient_norm = 0;  ///< Euclidean, over all parameters (only with statistics)
  std::uint64_t digest = 0;  ///< of parameters and moments before it (only with statistics)
  /// What this rank updates. The counted ones of all ranks hold every element once.
  std::span<const ShardView> shards{};
  /// What else it holds of parameters that other ranks update: values alone, never counted.
  std::span<const ShardView> copies{};
};

/// What passes between two blocks, as one rank has it: boundary b is what block b - 1 of the model
/// gives and block b takes.
struct BoundaryView {
  std::size_t boundary = 0;
  const MicroBatch* batch = nullptr;  ///< whose rows these are
  std::size_t width = 0;              ///< features of a row, on all ranks together
  Range features;                     ///< of those, the ones here
  bool counted = true;                ///< false on all but one of the ranks that hold the same
  std::span<const float> values;      ///< (rows, features)
};

/// Sees every boundary of every microbatch: values in the order of the blocks, then gradients in
/// the opposite order. Must not communicate.
class BoundaryObserver {
 public:
  virtual ~BoundaryObserver() = default;
  virtual void value(const BoundaryView& view) = 0;
  virtual void gradient(const BoundaryView& view) = 0;
};

/// Watches a training run. Every rank of a world calls its observer at the same points, so an
/// observer may communicate.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  /// Norm and digest cost a pass over the parameters; without statistics they are 0.
  virtual bool wants_statistics() const { return false; }
  /// Who sees the boundaries, if anybody does.
  virtual BoundaryObserver* boundaries() { return nullptr; }
  /// Before each step, with the state that the steps so far have made (no loss, and gradients that
  /// mean nothing). Training ends here if it returns false, which all ranks must do together.
  virtual bool goes_on(const StepView& /*view*/) { return true; }
  virtual void step(const StepView& /*view*/) {}
  /// After the last update: `step` is the number of steps, and there are no losses and gradients.
  virtual void finished(const StepView& /*view*/) {}
};

/// Loss or gradient are no longer finite: from there on nothing means anything.
class TrainingDiverged : public UsageError {
 public:
  TrainingDiverged(std::size_t step, const std::string& what, double value)
      : UsageError("the " + what + " at step " + std::to_string(step) + " is " +
                       std::to_string(value) + ": training has diverged",
                   "use a smaller --lr or --init-scale") {}
};

/// Where a run begins: at step 0, or where another one stopped.
struct TrainingStart {
  std::size_t step = 0;  ///< steps that were made before
  /// Sources of the optimizer's state, by the parameters' names; null: it is 0.
  const ParameterSource* first_moments = nullptr;
  const ParameterSource* second_moments = nullptr;
};

/// What every trainer is given.
struct TrainingRun {
  const Recipe& recipe;
  const Model& model;
  const Corpus& corpus;
  const ParameterSource& initial;  ///< the parameters where it begins
  StepObserver& observer;
  TrainingStart start{};

  /// True if step `step` is to be made, from the state in `shards` and `copies`.
  bool goes_on(std::size_t step, std::span<const ShardView> shards,
               std::span<const ShardView> copies = {}) const {
    return step < recipe.steps &&
           observer.goes_on({.step = step, .shards = shards, .copies = copies});
  }
};

}  // namespace meshparity
