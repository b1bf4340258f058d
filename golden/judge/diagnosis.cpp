#include "golden/judge/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/judge/suspects.h"

namespace meshparity {
namespace {

/// Into how many pieces a tensor may be cut.
std::vector<std::size_t> cuts_of(const RecordedStep& step, const std::vector<NamedSize>& sizes,
                                 const std::string& tensor) {
  std::vector<std::size_t> cuts = {2, 4};
  const bool of_rows = tensor.find("put/") != std::string::npos;  // input/, output/, ...
  if (of_rows) cuts.push_back(step.samples);
  if (step.model.heads > 0) {
    cuts.insert(cuts.end(), {3, step.model.heads, 3 * step.model.heads});
  }
  for (const NamedSize& size : sizes) {
    if (!size.of_targets) cuts.push_back(static_cast<std::size_t>(size.size));
  }
  return cuts;
}

}  // namespace

std::vector<NamedSize> sizes_of(const RecordedStep& step) {
  std::vector<NamedSize> sizes;
  const auto add = [&](const std::string& name, std::size_t size, bool of_targets = false) {
    if (size < 2) return;
    sizes.push_back({static_cast<double>(size), fmt::format("{} = {}", name, size), of_targets});
  };
  std::size_t all_axes = 1;
  std::size_t data = 1;
  for (const auto& [axis, size] : step.axes) {
    add(axis, size);
    all_axes *= size;
    if (axis == "dp" || axis == "fsdp") data *= size;
  }
  add("ranks", step.ranks);
  add("ranks that share the batch", data);
  add("ranks", all_axes);
  add("microbatches", step.microbatches);
  add("parts of the batch", step.parts.size());
  if (step.ranks > 1 && step.parts.size() % step.ranks == 0) {
    add("microbatches of a rank", step.parts.size() / step.ranks);
  }
  const std::size_t targets = targets_in(step, 0, step.rows());
  add("targets", targets, true);
  if (step.samples > 0 && targets > step.samples) {
    const double share = static_cast<double>(targets) / static_cast<double>(step.samples);
    sizes.push_back({share, fmt::format("targets / samples = {:.6g}", share), true});
  }
  if (step.parts.size() > 1) {
    const Range first = step.parts[0].samples;
    add("targets of the first part",
        targets_in(step, first.begin * step.positions, first.end * step.positions), true);
  }
  return sizes;
}

Diagnosis diagnose(const RecordedStep& step, const DifferentTensor& different,
                   const RecordedStep* before) {
  const std::vector<NamedSize> sizes = sizes_of(step);
  const Difference difference{different.shape, different.actual, different.expected,
                              different.bound};
  const std::string& tensor = different.tensor;
  Hypotheses hypotheses(difference, sizes, cuts_of(step, sizes, tensor));
  hypotheses.try_simple();
  if (tensor.starts_with("grad/")) {
    try_gradient(step, tensor.substr(tensor.find('/') + 1), before, hypotheses);
    try_deviations(step, tensor, sizes, hypotheses);
  } else if (tensor.starts_with("param_after/") || tensor.starts_with("state_after/")) {
    try_update(step, tensor, sizes, hypotheses);
  } else {
    try_own_means(step, tensor, hypotheses);
    try_addends(step, tensor, hypotheses);
    try_deviations(step, tensor, sizes, hypotheses);
    if (before != nullptr) try_stale_parameters(step, tensor, *before, hypotheses);
  }
  return {tensor, hypotheses.fitting(), hypotheses.tested(), describe(tensor, hypotheses)};
}

void diagnose_first(const RecordedStep& step, std::vector<StepVerdict>& verdicts,
                    const std::function<std::optional<RecordedStep>()>& before) {
  const auto differs = [](const StepVerdict& verdict) { return verdict.first.has_value(); };
  const auto first = std::ranges::find_if(verdicts, differs);
  if (first == verdicts.end() || std::next(first) != verdicts.end()) return;
  const std::optional<RecordedStep> earlier = before ? before() : std::nullopt;
  first->diagnosis = diagnose(step, *first->first, earlier ? &*earlier : nullptr);
}

}  // namespace meshparity
