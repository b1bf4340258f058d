#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"
#include "golden/judge/hypotheses.h"

/// A recorded step held to the oracle.
namespace meshparity {

enum class LineState {
  verified,
  different,
  blunt,  ///< unverified: the bound is too wide to see a mistake
  /// Unverified: it would be different, but for a framework that rounds to bfloat16 within
  /// operations, too.
  coarser,
};

/// Above this (root mean squares, bound / value), a bound shows nothing.
inline constexpr double kBlunt = 0.01;

/// One tensor's verdict.
struct VerdictLine {
  std::size_t step = 0;
  std::string tensor;  ///< as recorded: `grad/h.0.ln_1.weight`, `output/h.0.attn.c_attn`, ...
  std::string kind;    ///< the operation: `linear`, `linear: weight gradient`, `layer norm`, ...
  LineState state = LineState::verified;
  double worst_ratio = 0;     ///< largest error / bound; 0 where there is no error
  double bluntness = 0;       ///< root mean square of the bounds over that of the values
  double relative_error = 0;  ///< likewise of the errors
  /// Of the worst element.
  std::size_t element = 0;
  double actual = 0;
  double expected = 0;
  double bound = 0;
  std::vector<std::size_t> shape;
};

/// A tensor that differs, all of it.
struct DifferentTensor {
  std::string tensor;
  std::string kind;
  std::vector<std::size_t> shape;
  std::vector<double> actual;
  std::vector<double> expected;
  std::vector<double> bound;
};

/// What a step was found to be.
struct StepVerdict {
  std::size_t step = 0;
  std::vector<VerdictLine> lines;           ///< in causal order
  std::vector<std::string> missing;         ///< tensors, without which there is no verdict
  std::vector<std::string> reasons;         ///< others why it is unverified
  std::vector<std::string> not_recorded;    ///< whole groups, which are no part of the verdict
  std::vector<ReplicaDifference> replicas;  ///< ranks that should agree and do not
  std::optional<DifferentTensor> first;     ///< of the lines in causal order
  std::optional<Diagnosis> diagnosis;       ///< of that tensor, if anybody asked for it

  bool different() const;   ///< a line or a replica is
  bool unverified() const;  ///< something is missing or blunt
};

StepVerdict judge_recorded_step(const RecordedStep& step);

/// Gradients by float64, from the recorded parameters and batch alone.
struct ReferenceGradients {
  /// By parameter's name, in the recording's layout. Beside a tied `wte.weight` stand its two uses,
  /// `wte.weight (embedding)` and `wte.weight (head)`.
  std::map<std::string, std::vector<double>> gradients;
  /// `output/...` and `grad_output/...` of rows' own parts, as a recording has them.
  std::map<std::string, std::vector<double>> activations;
};

/// The gradient of sum over rows of weights[row] * (loss of the row); without a target a row's loss
/// is 0. The right one has weights 1 / (targets of the global batch).
ReferenceGradients reference_gradients(const RecordedStep& step,
                                       const std::vector<double>& weights);

}  // namespace meshparity
