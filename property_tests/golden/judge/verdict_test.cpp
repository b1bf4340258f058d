// Right steps are verified; whatever is moved is called different, and by its own name.

#include "golden/judge/verdict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "golden/files/recording_header.h"
#include "golden/judge/bfloat16.h"
#include "golden/judge/judging.h"
#include "golden/judge/model_walk.h"
#include "golden/judge/verdict_text.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {
namespace {

using Kind = RecordedModel::Kind;

std::string first_different(const StepVerdict& verdict) {
  const auto found = std::ranges::find(verdict.lines, LineState::different, &VerdictLine::state);
  return found == verdict.lines.end() ? "" : found->tensor;
}

std::vector<SmallOptions> all_options() {
  std::vector<SmallOptions> options = {{}, {.kind = Kind::mlp}};
  options.push_back({.tied = false, .biases = false, .gelu = RecordedModel::Gelu::erf});
  options.push_back({.weights = WeightLayout::input_output, .parts = 2, .max_norm = 0.05});
  options.push_back({.kind = Kind::mlp, .weights = WeightLayout::input_output, .parts = 4});
  return options;
}

TEST(Verdict, RightStepsAreVerifiedWithSharpBounds) {
  for (const SmallOptions& options : all_options()) {
    const StepVerdict verdict = judge_recorded_step(small_step(options));
    EXPECT_EQ(first_different(verdict), "");
    EXPECT_FALSE(verdict.unverified()) << verdict_text({verdict}, true);
    EXPECT_FALSE(verdict.different());
    EXPECT_FALSE(verdict.first);
    EXPECT_EQ(verdict.not_recorded, std::vector<std::string>());
    // Everything but what goes in has a line.
    const RecordedStep step = small_step(options);
    for (const auto& [name, tensor] : step.tensors) {
      if (name.starts_with("param/") || name.starts_with("state/")) continue;
      EXPECT_EQ(std::ranges::count(verdict.lines, name, &VerdictLine::tensor), 1) << name;
    }
  }
}

/// What is moved is judged from what stands before it, and what follows from it: the first line
/// that differs is its own.
TEST(Verdict, WhateverIsMovedIsTheFirstDifference) {
  for (const SmallOptions& options : all_options()) {
    const RecordedStep right = small_step(options);
    for (const auto& [name, tensor] : right.tensors) {
      if (name.starts_with("param/") || name.starts_with("state/")) continue;
      RecordedStep wrong = right;
      const std::size_t at = tensor.values.size() / 2;
      float& value = wrong.tensors.at(name).values[at];
      const float was = value;
      value = value * 1.01F + 1e-3F;
      const StepVerdict verdict = judge_recorded_step(wrong);
      EXPECT_EQ(first_different(verdict), name);
      ASSERT_TRUE(verdict.first);
      EXPECT_EQ(verdict.first->tensor, name);
      EXPECT_EQ(verdict.first->actual[at], static_cast<double>(value));
      EXPECT_NEAR(verdict.first->expected[at], static_cast<double>(was),
                  verdict.first->bound[at] * 1.01);
      const auto line = std::ranges::find(verdict.lines, name, &VerdictLine::tensor);
      EXPECT_EQ(line->element, at) << name;
    }
  }
}

TEST(Verdict, AWrongLossIsTheLosses) {
  RecordedStep step = small_step({.parts = 2});
  step.parts[1].loss *= 1.0001;
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_EQ(first_different(verdict), "loss");
  EXPECT_EQ(verdict.first->shape, std::vector<std::size_t>{2});
}

TEST(Verdict, AWrongWeightOfAPartIsSeen) {
  // Means of parts that have different numbers of targets, averaged.
  RecordedStep step = small_step({.parts = 2});
  step.parts[0].weight = 0.45;
  EXPECT_EQ(first_different(judge_recorded_step(step)), "loss");
}

TEST(Verdict, WhatIsMissingIsNamedAndLeavesItUnverified) {
  for (const SmallOptions& options : all_options()) {
    const RecordedStep right = small_step(options);
    for (const auto& [name, tensor] : right.tensors) {
      RecordedStep step = right;
      step.tensors.erase(name);
      const StepVerdict verdict = judge_recorded_step(step);
      EXPECT_EQ(std::ranges::count(verdict.missing, name), 1) << name;
      EXPECT_TRUE(verdict.unverified()) << name;
      EXPECT_FALSE(verdict.different()) << name << ": " << first_different(verdict);
      EXPECT_EQ(outcome_of(std::vector<StepVerdict>{verdict}), Outcome::unverified);
    }
    RecordedStep step = right;
    step.has_losses = false;
    EXPECT_EQ(judge_recorded_step(step).missing, std::vector<std::string>{"loss"});
    step = right;
    step.targets.clear();
    EXPECT_EQ(judge_recorded_step(step).missing.front(), "batch.targets");
  }
}

void erase_groups(RecordedStep& step, const std::vector<std::string>& groups) {
  std::erase_if(step.tensors, [&](const auto& entry) {
    return std::ranges::any_of(groups,
                               [&](const auto& group) { return entry.first.starts_with(group); });
  });
}

TEST(Verdict, GroupsThatAreNotRecordedAreNoPartOfIt) {
  RecordedStep step = small_step();
  erase_groups(step, {"state_after/"});
  StepVerdict verdict = judge_recorded_step(step);
  EXPECT_FALSE(verdict.unverified()) << verdict_text({verdict}, true);
  EXPECT_EQ(verdict.not_recorded, std::vector<std::string>{"moments after the step"});
  erase_groups(step, {"state/", "param_after/"});
  verdict = judge_recorded_step(step);
  EXPECT_FALSE(verdict.unverified());
  EXPECT_EQ(verdict.not_recorded.size(), 1U);
}

TEST(Verdict, AnMlpIsSharpFromItsParametersOnAndATransformerIsBlunt) {
  const std::vector<std::string> operations = {"input/", "output/", "grad_input/", "grad_output/"};
  RecordedStep mlp = small_step({.kind = Kind::mlp, .parts = 2});
  erase_groups(mlp, operations);
  const StepVerdict sharp = judge_recorded_step(mlp);
  EXPECT_FALSE(sharp.unverified()) << verdict_text({sharp}, true);
  EXPECT_EQ(sharp.not_recorded, std::vector<std::string>{"operations"});
  for (float& g : mlp.tensors.at("grad/hidden.0.weight").values) g *= 2;
  EXPECT_EQ(first_different(judge_recorded_step(mlp)), "grad/hidden.0.weight");

  RecordedStep gpt2 = small_step();
  erase_groups(gpt2, operations);
  const StepVerdict blunt = judge_recorded_step(gpt2);
  EXPECT_TRUE(blunt.unverified());
  EXPECT_FALSE(blunt.different());
}

TEST(Verdict, BoundariesAloneAreJudgedBlockByBlock) {
  RecordedStep step = small_step();
  RecordedStep boundaries = step;
  erase_groups(boundaries, {"input/", "output/", "grad_input/", "grad_output/"});
  const auto keep = [&](const std::string& from, const std::string& to) {
    boundaries.tensors[to] = step.tensors.at(from);
  };
  keep("input/h.0.ln_1", "output/embedding");
  keep("input/h.0.ln_2", "output/h.0.residual_1");
  keep("input/h.1.ln_1", "output/h.0.residual_2");
  keep("input/h.1.ln_2", "output/h.1.residual_1");
  keep("input/ln_f", "output/h.1.residual_2");
  keep("output/lm_head", "output/lm_head");
  keep("grad_output/lm_head", "grad_output/lm_head");
  keep("grad_output/h.1.mlp.c_proj", "grad_output/h.1.residual_2");
  keep("grad_output/h.1.attn.c_proj", "grad_output/h.1.residual_1");
  keep("grad_output/h.0.mlp.c_proj", "grad_output/h.0.residual_2");
  keep("grad_output/h.0.attn.c_proj", "grad_output/h.0.residual_1");
  keep("grad_output/wte", "grad_output/embedding");
  const StepVerdict verdict = judge_recorded_step(boundaries);
  EXPECT_FALSE(verdict.unverified()) << verdict_text({verdict}, true);
  boundaries.tensors.at("output/h.0.residual_2").values[9] += 0.01F;
  EXPECT_EQ(first_different(judge_recorded_step(boundaries)), "output/h.0.residual_2");
  boundaries.tensors.erase("output/h.0.residual_1");
  EXPECT_EQ(judge_recorded_step(boundaries).missing,
            std::vector<std::string>{"output/h.0.residual_1"});
}

TEST(Verdict, UpdatesWithoutAnOptimizerAreNotJudged) {
  RecordedStep step = small_step();
  step.optimizer.reset();
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_FALSE(verdict.unverified());
  ASSERT_EQ(verdict.not_recorded.size(), 1U);
  EXPECT_NE(verdict.not_recorded[0].find("'optimizer'"), std::string::npos);
}

TEST(Verdict, UpdatesThatAreRoundedToBfloat16AreNotJudged) {
  RecordedStep step = small_step();
  step.arithmetic = RecordedArithmetic::bf16;
  const std::string why = "updates (of bfloat16, rounded in every operation)";
  EXPECT_EQ(std::ranges::count(judge_recorded_step(step).not_recorded, why), 0)
      << "float32 parameters beside operations of bfloat16";
  for (auto& [name, tensor] : step.tensors) {
    if (!name.starts_with("param_after/")) continue;
    for (float& x : tensor.values) {
      x = static_cast<float>(rounded_to_bfloat16(static_cast<double>(x)));
    }
  }
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_EQ(std::ranges::count(verdict.not_recorded, why), 1);
  EXPECT_EQ(std::ranges::count(verdict.lines, "AdamW: parameter", &VerdictLine::kind), 0);
}

TEST(Verdict, OutsideTheBoundsOfBfloat16IsUnverified) {
  // Recorded in float32, all is within what bfloat16 may do but what is far off.
  RecordedStep step = small_step();
  step.arithmetic = RecordedArithmetic::bf16;
  step.tensors.at("output/ln_f").values[3] += 1;
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_TRUE(verdict.unverified());
  EXPECT_FALSE(verdict.different());
  const auto line = std::ranges::find(verdict.lines, "output/ln_f", &VerdictLine::tensor);
  EXPECT_EQ(line->state, LineState::coarser);
  EXPECT_NE(verdict_text({verdict}, false).find("unverified: bf16"), std::string::npos);
}

TEST(Verdict, DropoutIsNeverVerified) {
  RecordedStep step = small_step();
  step.model.dropout = 0.1;
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_TRUE(verdict.unverified());
  EXPECT_NE(verdict_text({verdict}, false).find("dropout 0.1"), std::string::npos);
}

TEST(Verdict, AClipFactorThatIsNotTheNormsIsDifferent) {
  RecordedStep step = small_step({.max_norm = 0.05});
  EXPECT_FALSE(judge_recorded_step(step).different());
  step.clip->max_norm = 0.051;  // than what was used
  EXPECT_TRUE(first_different(judge_recorded_step(step)).starts_with("state_after/exp_avg/"));
  step.clip.reset();
  EXPECT_TRUE(judge_recorded_step(step).different());
}

TEST(Verdict, ReplicasThatDifferAreDifferent) {
  RecordedStep step = small_step();
  step.replicas.push_back({"grad/wte.weight", 3, 0, 1, 1.0F, 2.0F});
  const StepVerdict verdict = judge_recorded_step(step);
  EXPECT_TRUE(verdict.different());
  EXPECT_NE(verdict_text({verdict}, false)
                .find("grad/wte.weight, element 3: rank 0 holds 1, rank 1 holds 2"),
            std::string::npos);
}

TEST(Verdict, ABoundThatIsNoNumberVerifiesNothing) {
  StepVerdict verdict;
  const BoundedMatrix expected{1, 2, {1, 2}, {1e-9, std::nan("")}};
  judge_tensor(verdict, "x", "kind", {2}, std::vector<float>{1, 5}, expected);
  EXPECT_EQ(verdict.lines[0].state, LineState::blunt);
  const BoundedMatrix wide{1, 2, {1, 2}, {0.02, 0.02}};
  judge_tensor(verdict, "y", "kind", {2}, std::vector<float>{1, 2}, wide);
  EXPECT_EQ(verdict.lines[1].state, LineState::blunt);
  judge_tensor(verdict, "z", "kind", {2}, std::vector<float>{1, 2.1F}, wide);
  EXPECT_EQ(verdict.lines[2].state, LineState::different);
  EXPECT_TRUE(verdict.unverified());
  EXPECT_THROW(judge_tensor(verdict, "z", "", {1}, std::vector<float>{1}, wide),
               std::invalid_argument);
}

TEST(ReferenceGradients, AreThoseOfTheRowsThatHaveWeight) {
  for (const SmallOptions& options : all_options()) {
    const RecordedStep step = small_step(options);
    const auto targets =
        static_cast<double>(std::ranges::count_if(step.targets, [](Token t) { return t >= 0; }));
    const std::vector<double> all(step.rows(), 1 / targets);
    std::vector<double> first = all;
    std::vector<double> second = all;
    for (std::size_t row = 0; row < step.rows(); ++row) {
      (row < step.rows() / 2 ? second : first)[row] = 0;
    }
    const auto whole = reference_gradients(step, all).gradients;
    const auto a = reference_gradients(step, first).gradients;
    const auto b = reference_gradients(step, second).gradients;
    for (const std::string& name : parameter_names(step.model)) {
      const std::vector<float>& recorded = step.tensors.at("grad/" + name).values;
      for (std::size_t i = 0; i < recorded.size(); ++i) {
        EXPECT_NEAR(whole.at(name)[i], static_cast<double>(recorded[i]), 1e-5) << name;
        EXPECT_NEAR(whole.at(name)[i], a.at(name)[i] + b.at(name)[i], 1e-12) << name;
      }
    }
    if (!step.model.tied) continue;
    for (std::size_t i = 0; i < whole.at("wte.weight").size(); ++i) {
      EXPECT_NEAR(whole.at("wte.weight")[i],
                  whole.at("wte.weight (embedding)")[i] + whole.at("wte.weight (head)")[i], 1e-12);
    }
  }
}

}  // namespace
}  // namespace meshparity
