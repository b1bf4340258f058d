#pragma once

#include <optional>
#include <string>

#include "property_tests/proof/parity_check.h"

namespace meshparity {

/// What of a run of the case lies outside the bound: in every step what it made of its own
/// parameters, and its update. `worst_ratio` grows to the largest error / bound of losses and
/// gradients.
std::optional<std::string> difference_in(const Recording& run, const ParityCase& c,
                                         const Question& question, double& worst_ratio);

/// Trains the case with native reductions in a simulated world. Returns what lies outside the
/// bound, see `difference_in`.
std::optional<std::string> difference_from_oracle(const ParityCase& c, const Question& question,
                                                  double& worst_ratio);

}  // namespace meshparity
