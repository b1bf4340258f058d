// Loss, activations and gradients of a recorded step, each from what the recording itself holds
// before it.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <set>

#include "golden/files/recording_header.h"
#include "golden/judge/judging.h"
#include "golden/judge/model_walk.h"
#include "golden/judge/verdict.h"

namespace meshparity {
namespace {

/// Every operation takes what was recorded; where nothing was, what was computed before it, within
/// its bound.
class RecordedOperands final : public Operands {
 public:
  RecordedOperands(const RecordedStep& step, const Operations& operations,
                   const std::vector<double>& scales, StepVerdict& verdict)
      : step_(step), operations_(operations), scales_(scales), verdict_(verdict) {}

  void give(const std::string& tensor, const std::string& kind, BoundedMatrix computed) override {
    if (const RecordedTensor* const recorded = step_.find(tensor)) {
      judge_tensor(verdict_, tensor, kind, recorded->shape, recorded->values, computed);
    } else {
      computed_[tensor] = std::move(computed);
    }
  }
  BoundedMatrix take(const std::string& tensor) override {
    if (const RecordedTensor* const recorded = step_.find(tensor)) return matrix_of(*recorded);
    return computed_.at(tensor);
  }
  void give_losses(const BoundedMatrix& losses) override {
    if (!step_.has_losses) return;
    BoundedMatrix expected{1, step_.parts.size(), {}, {}};
    std::vector<float> actual;
    for (const RecordedPart& part : step_.parts) {
      const std::size_t begin = part.samples.begin * step_.positions;
      const BoundedMatrix mean =
          operations_.mean_loss(losses, begin, part.samples.end * step_.positions, scales_[begin]);
      expected.value.push_back(mean.value[0]);
      expected.bound.push_back(mean.bound[0]);
      actual.push_back(static_cast<float>(part.loss));
    }
    judge_tensor(verdict_, "loss", "loss", {actual.size()}, actual, expected);
  }
  void give_gradient(const std::string& name, const std::string& kind,
                     BoundedMatrix computed) override {
    const RecordedTensor* const recorded = step_.find("grad/" + name);
    if (recorded == nullptr) return;
    judge_tensor(verdict_, "grad/" + name, kind, recorded->shape, recorded->values, computed);
  }
  BoundedMatrix parameter(const std::string& name) override {
    return matrix_of(step_.tensors.at("param/" + name));
  }

 private:
  const RecordedStep& step_;
  const Operations& operations_;
  const std::vector<double>& scales_;
  StepVerdict& verdict_;
  std::map<std::string, BoundedMatrix> computed_;
};

/// Names what should be there. True if the walk can be made.
bool find_missing(const RecordedStep& step, StepVerdict& verdict) {
  const auto miss = [&](const std::string& name) { verdict.missing.push_back(name); };
  if (step.tokens.empty()) miss("batch.tokens");
  if (step.targets.empty()) miss("batch.targets");
  bool complete = verdict.missing.empty();
  if (!step.has_losses) miss("loss");
  for (const std::string& name : parameter_names(step.model)) {
    if (step.find("param/" + name) == nullptr) {
      miss("param/" + name);
      complete = false;
    }
    if (step.find("grad/" + name) == nullptr) miss("grad/" + name);
  }
  const std::vector<std::string> boundaries = boundary_names(step.model);
  const std::set<std::string> of_boundaries(boundaries.begin(), boundaries.end());
  bool any = false;
  bool inner = false;
  for (const auto& [name, tensor] : step.tensors) {
    const bool activation = name.starts_with("input/") || name.starts_with("output/") ||
                            name.starts_with("grad_input/") || name.starts_with("grad_output/");
    any = any || activation;
    inner = inner || (activation && !of_boundaries.contains(name));
  }
  if (!any) {
    verdict.not_recorded.emplace_back("operations");
    return complete;
  }
  for (const std::string& name : inner ? activation_names(step.model) : boundaries) {
    if (step.find(name) == nullptr) miss(name);
  }
  return complete;
}

/// That everything between an operation's input and its output is float32 is a premise, which some
/// frameworks break in bfloat16 (PyTorch on CPUs). What lies outside such bounds may be right.
void doubt_bfloat16(StepVerdict& verdict) {
  std::size_t outside = 0;
  for (VerdictLine& line : verdict.lines) {
    if (line.state != LineState::different) continue;
    line.state = LineState::coarser;
    ++outside;
  }
  if (outside == 0) return;
  verdict.first.reset();
  verdict.reasons.push_back(
      fmt::format("{} tensors are not within float32 operations on bfloat16; whether the framework "
                  "rounds within operations is not known",
                  outside));
}

bool is_bfloat16(const RecordedStep& step, const std::string& group) {
  for (const auto& [name, tensor] : step.tensors) {
    if (!name.starts_with(group)) continue;
    for (const float value : tensor.values) {
      if ((std::bit_cast<std::uint32_t>(value) & 0xFFFFU) != 0) return false;
    }
  }
  return true;
}

/// True if there is something to judge; otherwise it is noted that there is not.
bool has_update(const RecordedStep& step, StepVerdict& verdict) {
  const char* why = nullptr;
  if (!step.has_group("param_after/")) {
    why = "updates (param_after, or the next step)";
  } else if (!step.optimizer) {
    why = "updates ('optimizer' in the metadata)";
  } else if (step.arithmetic == RecordedArithmetic::bf16 && is_bfloat16(step, "param_after/")) {
    why = "updates (of bfloat16, rounded in every operation)";
  }
  if (why != nullptr) verdict.not_recorded.emplace_back(why);
  return why == nullptr;
}

}  // namespace

StepVerdict judge_recorded_step(const RecordedStep& step) {
  StepVerdict verdict;
  verdict.step = step.number;
  verdict.replicas = step.replicas;
  const bool complete = find_missing(step, verdict);
  if (step.model.dropout > 0) {
    verdict.reasons.push_back(
        fmt::format("dropout {}: what it dropped is not recorded", step.model.dropout));
  } else if (complete) {
    const RowScales scales = row_scales(step);
    const Operations operations(arithmetic_of(step));
    RecordedOperands operands(step, operations, scales.losses, verdict);
    walk_model(step, operations, {scales.losses, scales.gradients, step.parts.size()}, operands);
  }
  if (step.arithmetic == RecordedArithmetic::bf16) doubt_bfloat16(verdict);
  if (has_update(step, verdict)) judge_recorded_update(step, verdict);
  return verdict;
}

}  // namespace meshparity
