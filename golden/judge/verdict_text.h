#pragma once

#include <string>
#include <vector>

#include "golden/judge/pair_verdict.h"
#include "golden/judge/verdict.h"

/// Verdicts for people and for programs.
namespace meshparity {

enum class Outcome { verified, different, unverified };
Outcome outcome_of(const std::vector<StepVerdict>& steps);
/// "verified", ...
std::string outcome_text(Outcome outcome);

/// What all verdicts about a recording rest on.
std::string premises_text(const RecordedStep& step);

/// The table: of each kind of operation the worst lines, or every line if `all`; then what differs,
/// what is missing and what was not recorded, and the verdict.
std::string verdict_text(const std::vector<StepVerdict>& steps, bool all);

/// Both recordings' tables, how far they are apart, and which of them is off.
std::string pair_text(const PairVerdict& pair, bool all);
Outcome outcome_of(const PairVerdict& pair);

/// {"verdict": ..., "first": {"step", "tensor", "kind", ...}, "hypotheses": [{"name", "what", ...}],
/// "missing": [...], "lines": [...]}
std::string verdict_json(const std::vector<StepVerdict>& steps);
/// {"verdict": ..., "unlike": [...], "recordings": [as above, as above]}
std::string pair_json(const PairVerdict& pair);

}  // namespace meshparity
