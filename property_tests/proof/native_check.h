#pragma once

#include <optional>
#include <string>

#include "property_tests/proof/parity_check.h"

namespace meshparity {

/// Trains the case with native reductions in a simulated world. Returns what lies outside the
/// bound; `worst_ratio` is the largest error / bound of losses and gradients.
std::optional<std::string> difference_from_oracle(const ParityCase& c, const Question& question,
                                                  double& worst_ratio);

}  // namespace meshparity
