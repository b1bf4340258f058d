#pragma once

#include <rapidcheck.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "property_tests/proof/parity_case.h"
#include "property_tests/proof/resume_case.h"

namespace meshparity {

/// A random recipe, and a random way for each strategy to train it on up to `max_ranks` ranks.
/// Drawn so that shrinking reaches small meshes first, then small recipes.
rc::Gen<std::vector<ParityCase>> parity_cases(Reduction reduction, std::size_t max_ranks,
                                              std::optional<ModelKind> model = std::nullopt);

/// A random recipe, and `runs` ways to stop and go on with it: one to four legs each, any strategy,
/// mesh and layout on each leg, some of them without a step.
rc::Gen<std::vector<ResumeCase>> resume_cases(std::size_t max_ranks, std::size_t runs);

}  // namespace meshparity
