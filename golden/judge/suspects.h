#pragma once

#include <string>
#include <vector>

#include "golden/judge/hypotheses.h"
#include "golden/judge/step_values.h"

/// What may be wrong with a tensor of a recorded step: each function tries all it knows.
namespace meshparity {

/// Parts of the batch, uses of a tied parameter, the step before (may be null). `parameter` without
/// `grad/`.
void try_gradient(const RecordedStep& step, const std::string& parameter,
                  const RecordedStep* before, Hypotheses& hypotheses);

/// An operation that is computed otherwise, somewhere before the tensor (a `grad/...`, or one that
/// StepValues knows).
void try_deviations(const RecordedStep& step, const std::string& tensor,
                    const std::vector<NamedSize>& sizes, Hypotheses& hypotheses);

/// Addends of a linear layer or a residual connection.
void try_addends(const RecordedStep& step, const std::string& tensor, Hypotheses& hypotheses);

/// Rows that are divided by the targets of their own part: of losses and gradients of activations.
void try_own_means(const RecordedStep& step, const std::string& tensor, Hypotheses& hypotheses);

/// Parameters of the step before, where an update did not reach those that compute with it.
void try_stale_parameters(const RecordedStep& step, const std::string& tensor,
                          const RecordedStep& before, Hypotheses& hypotheses);

/// Moments and parameters after the step: `state_after/...`, `param_after/...`.
void try_update(const RecordedStep& step, const std::string& tensor,
                const std::vector<NamedSize>& sizes, Hypotheses& hypotheses);

/// Targets in rows [begin, end) of the batch.
std::size_t targets_in(const RecordedStep& step, std::size_t begin, std::size_t end);

}  // namespace meshparity
