#pragma once

#include <string>
#include <vector>

#include "golden/judge/verdict.h"

/// Verdicts as pages: one HTML file with nothing to load and nothing to run.
namespace meshparity {

/// Verdict, premises, the first tensor that differs and what it was found to be, and a map of each
/// step: blocks down, forward, backward, gradients and updates across, each field the largest error
/// over its bound. `source` says what was judged.
std::string verdict_page(const std::string& source, const std::string& premises,
                         const std::vector<StepVerdict>& steps);

}  // namespace meshparity
