#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "golden/files/recording_folder.h"
#include "golden/judge/hypotheses.h"
#include "golden/judge/verdict.h"

/// The name of a bug, from the first tensor of a step that is not what it should be.
namespace meshparity {

/// Tests what may have been done to a tensor: constant factors and pieces out of place, parts of
/// the batch that are missing or counted otherwise, uses of a tied parameter, the step before,
/// operations computed otherwise, updates with other numbers. `different` names a tensor of `step`
/// and what it should be, by the oracle or by another recording; `before` is the step before, if it
/// was recorded.
Diagnosis diagnose(const RecordedStep& step, const DifferentTensor& different,
                   const RecordedStep* before = nullptr);

/// Adds a diagnosis to the last verdict, which is that of `step`, if it is the first one with a
/// tensor that differs. `before` reads the step before, if there is one.
void diagnose_first(const RecordedStep& step, std::vector<StepVerdict>& verdicts,
                    const std::function<std::optional<RecordedStep>()>& before = {});

/// Sizes that constant factors are named by: ranks, axes, microbatches, parts, targets.
std::vector<NamedSize> sizes_of(const RecordedStep& step);

}  // namespace meshparity
