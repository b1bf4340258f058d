#pragma once

#include <optional>
#include <string>

#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/resume_case.h"

namespace meshparity {

/// Trains leg by leg in simulated worlds, each from the checkpoint that the one before it wrote to
/// a folder, and holds every step's loss, gradient norm and digest, and all that every checkpoint
/// holds, to one rank's. `question` is of any leg. Returns what differs first, or was refused.
std::optional<std::string> difference_resumed(const ResumeCase& c, const Question& question);

}  // namespace meshparity
