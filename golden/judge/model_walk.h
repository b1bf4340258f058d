#pragma once

#include <functional>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"
#include "oracle/operations.h"

/// A training step up to the gradients, operation by operation, in causal order.
namespace meshparity {

/// What the walk takes from and gives to. Names are those of recordings.
class Operands {
 public:
  virtual ~Operands() = default;
  /// An operation gives this tensor; `kind` says what it does.
  virtual void give(const std::string& tensor, const std::string& kind, BoundedMatrix computed) = 0;
  /// The same tensor, for operations that take it.
  virtual BoundedMatrix take(const std::string& tensor) = 0;
  /// Each row's loss, unweighted.
  virtual void give_losses(const BoundedMatrix& losses) = 0;
  /// Of the parameter's use alone if the name ends with one: "wte.weight (head)".
  virtual void give_gradient(const std::string& parameter, const std::string& kind,
                             BoundedMatrix computed) = 0;
  virtual BoundedMatrix parameter(const std::string& name) = 0;
};

/// What each row's loss is multiplied with before the backward pass, and its gradient after it.
struct WalkWeights {
  std::vector<double> losses;
  std::vector<double> gradients;
  std::size_t parts = 1;  ///< whose gradients are summed apart
};

/// The step's model, tokens and targets are taken from it, nothing else.
void walk_model(const RecordedStep& step, const Operations& operations, const WalkWeights& weights,
                Operands& operands);

/// What a recording of activations should hold: all that operations take and give,
/// or what stands between blocks alone.
std::vector<std::string> activation_names(const RecordedModel& model);
std::vector<std::string> boundary_names(const RecordedModel& model);

}  // namespace meshparity
