#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "model/batch.h"
#include "model/model.h"
#include "model/recipe.h"
#include "oracle/oracle.h"
#include "oracle/recording.h"

/// A recorded run, held to the oracle's bounds.
namespace meshparity {

/// How close what was judged came to its bounds.
struct Judgement {
  /// Worst error / bound by what was judged: `loss`, `grad/hidden.0.weight`, `param/...`, and of
  /// blocks alone `hidden.0 output`, `hidden.0 input gradient`, `hidden.0 grad/hidden.0.weight`
  /// ... (all users of a parameter, joined by +), `head loss`, `head logit gradient`. Above 1, it
  /// is wrong; far below, the bound was too wide to see much. What can have no error is left out.
  std::map<std::string, double> ratios;
  /// The first value outside its bound: step, tensor, index, and how far. Of blocks alone, causes
  /// come before effects: what it names is where the mistake is.
  std::optional<std::string> first_difference;

  /// Takes the worse of each ratio, and the first difference that there is.
  void add(const Judgement& later);
  /// The entry with the largest ratio, or the smallest; nullptr if nothing was judged.
  const std::pair<const std::string, double>* worst() const;
  const std::pair<const std::string, double>* bluntest() const;
};

/// What a step is judged by. `batch` is the whole global batch of the step.
struct StepUnderTest {
  const Model& model;
  const MicroBatch& batch;
  const Recording::Step& step;
  std::size_t number = 0;
  SumOrder order = SumOrder::canonical;
};

/// Loss and gradients against the oracle's step from the same values. All three throw
/// std::invalid_argument if a tensor is missing or has the wrong size.
Judgement judge_end_to_end(const StepUnderTest& test);

/// Each block, and the head, against the oracle's from the step's own boundaries.
Judgement judge_blocks(const StepUnderTest& test);

/// What the optimizer made of the step: moments and values against those that its own values,
/// gradients and moments should have made at step `test.number` of the recipe. Ratios are
/// `first_moment/...`, `second_moment/...` and `param/...`. Values are judged from the new moments
/// as they are, the clip factor from the exact norm of the step's own gradients.
Judgement judge_update(const StepUnderTest& test, const TrainedState& updated,
                       const Recipe& recipe);

}  // namespace meshparity
