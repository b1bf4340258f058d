// What the optimizer made of the recorded gradients, parameter by parameter.

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "golden/files/recording_header.h"
#include "golden/judge/judging.h"

namespace meshparity {
namespace {

class Update {
 public:
  Update(const RecordedStep& step, StepVerdict& verdict)
      : step_(step),
        verdict_(verdict),
        optimizer_(*step.optimizer),
        names_(parameter_names(step.model)),
        has_moments_after_(step.has_group("state_after/")) {
    if (optimizer_.decayed) decayed_.insert(optimizer_.decayed->begin(), optimizer_.decayed->end());
  }

  void judge() {
    if (step_.clip) {
      std::vector<std::span<const float>> gradients;
      for (const std::string& name : names_) {
        const RecordedTensor* const gradient = step_.find("grad/" + name);
        if (gradient == nullptr) return;  // it is missing, which is said already
        gradients.emplace_back(gradient->values);
      }
      const bool is_torch = step_.clip->formula == RecordedClip::Formula::torch;
      const NormOrder order = is_torch ? NormOrder::by_tensor : NormOrder::any;
      clip_ = clip_factor(norm_of(gradients, order, arithmetic_of(step_)), step_.clip->max_norm,
                          step_.clip->added());
      take_common_factor();
    }
    if (optimizer_.kind == RecordedOptimizer::Kind::adamw && !has_moments_after_) {
      verdict_.not_recorded.emplace_back("moments after the step");
    }
    for (const std::string& name : names_) {
      if (optimizer_.kind == RecordedOptimizer::Kind::adamw) {
        judge_adamw(name);
      } else {
        judge_sgd(name);
      }
    }
  }

 private:
  /// The norm of many gradients, summed in any order, is hardly known. But all moments were made
  /// with one factor, which they tell: where it is a right one, updates are judged with it.
  void take_common_factor() {
    if (optimizer_.kind != RecordedOptimizer::Kind::adamw || clip_.bound == 0) return;
    FactorRange range;
    for (const std::string& name : names_) {
      const RecordedTensor* const gradient = step_.find("grad/" + name);
      const RecordedTensor* const after = step_.find("state_after/exp_avg/" + name);
      const RecordedTensor* const before = step_.find("state/exp_avg/" + name);
      if (after == nullptr || before == nullptr) return;
      range.narrow(gradient->values, before->values, after->values, optimizer_.beta1);
    }
    const double middle = (range.least + range.most) / 2;
    const double half = (range.most - range.least) / 2;
    if (range.empty() || std::abs(middle - clip_.value) > clip_.bound + half) return;
    const BoundedMatrix expected{1, 1, {clip_.value}, {clip_.bound + half + 0x1p-24 * middle}};
    judge_tensor(verdict_, "clip", "clip factor", {}, std::array{static_cast<float>(middle)},
                 expected);
    clip_ = {middle, half};
  }

  /// The tensor, or nothing if it is missing, which is noted.
  const RecordedTensor* needed(const std::string& name) {
    const RecordedTensor* const found = step_.find(name);
    auto& missing = verdict_.missing;
    if (found == nullptr && std::ranges::find(missing, name) == missing.end()) {
      missing.push_back(name);
    }
    return found;
  }

  double decay_of(const std::string& name) const {
    return !optimizer_.decayed || decayed_.contains(name) ? optimizer_.weight_decay : 0;
  }

  void compare(const std::string& tensor, const char* kind, const BoundedMatrix& expected) {
    if (const RecordedTensor* const after = needed(tensor)) {
      judge_tensor(verdict_, tensor, kind, after->shape, after->values, expected);
    }
  }

  /// Moments before the first update are zeros.
  std::optional<BoundedMatrix> moment_before(const std::string& tensor,
                                             const BoundedMatrix& gradient) {
    if (optimizer_.update == 1 && !step_.has_group("state/")) {
      return BoundedMatrix{
          gradient.rows, gradient.columns, std::vector<double>(gradient.value.size()), {}};
    }
    const RecordedTensor* const found = needed(tensor);
    return found == nullptr ? std::nullopt : std::optional(matrix_of(*found));
  }

  void judge_adamw(const std::string& name) {
    const RecordedTensor* const parameter = needed("param/" + name);
    const RecordedTensor* const recorded = needed("grad/" + name);
    if (parameter == nullptr || recorded == nullptr) return;
    const BoundedMatrix gradient = matrix_of(*recorded);
    const auto first = moment_before("state/exp_avg/" + name, gradient);
    const auto second = moment_before("state/exp_avg_sq/" + name, gradient);
    if (!first || !second) return;
    const AdamWNumbers numbers{optimizer_.lr,      optimizer_.beta1, optimizer_.beta2,
                               optimizer_.epsilon, decay_of(name),   optimizer_.update};
    AdamWMoments after = adamw_moments(gradient, clip_, *first, *second, numbers);
    if (has_moments_after_) {
      compare("state_after/exp_avg/" + name, "AdamW: first moment", after.first);
      compare("state_after/exp_avg_sq/" + name, "AdamW: second moment", after.second);
      const RecordedTensor* const held = step_.find("state_after/exp_avg/" + name);
      const RecordedTensor* const held_squares = step_.find("state_after/exp_avg_sq/" + name);
      if (held != nullptr) after.first = matrix_of(*held);
      if (held_squares != nullptr) after.second = matrix_of(*held_squares);
    }
    compare("param_after/" + name, "AdamW: parameter",
            adamw_values(matrix_of(*parameter), after, numbers));
  }

  void judge_sgd(const std::string& name) {
    const RecordedTensor* const parameter = needed("param/" + name);
    const RecordedTensor* const gradient = needed("grad/" + name);
    if (parameter == nullptr || gradient == nullptr) return;
    compare("param_after/" + name, "SGD: parameter",
            sgd_values(matrix_of(*parameter), matrix_of(*gradient), clip_, optimizer_.lr,
                       decay_of(name)));
  }

  const RecordedStep& step_;
  StepVerdict& verdict_;
  const RecordedOptimizer& optimizer_;
  std::vector<std::string> names_;
  bool has_moments_after_;
  std::set<std::string> decayed_;
  BoundedNumber clip_{1, 0};
};

}  // namespace

void judge_recorded_update(const RecordedStep& step, StepVerdict& verdict) {
  Update(step, verdict).judge();
}

}  // namespace meshparity
