// Mistakes planted in recorded steps of a small GPT-2: the judge must call each different, and name
// it.
#include "golden/judge/diagnosis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "golden/judge/bfloat16.h"
#include "property_tests/golden/judge/recorded_gpt2.h"

namespace meshparity {
namespace {

using recorded::complete_step;

/// What the first different tensor is named; "none", or "verified".
std::string name_of(const RecordedStep& step, const RecordedStep* before = nullptr) {
  const StepVerdict verdict = judge_recorded_step(step);
  if (!verdict.first) return "verified";
  const Diagnosis diagnosis = diagnose(step, *verdict.first, before);
  EXPECT_EQ(diagnosis.tensor, verdict.first->tensor);
  EXPECT_GT(diagnosis.tested, 5U);
  return diagnosis.fitting.empty() ? "none: " + diagnosis.text : diagnosis.fitting[0].mistake.id;
}

TEST(Diagnosis, AnHonestStepIsVerified) { EXPECT_EQ(name_of(complete_step()), "verified"); }

struct Planted {
  Deviation deviation;
  std::string id;
};

TEST(Diagnosis, OperationsComputedOtherwise) {
  const std::vector<Planted> all = {
      {{.epsilon = 1e-3}, "eps-other"},
      {{.epsilon = 1e-6}, "eps-other"},
      {{.other_gelu = true}, "gelu-other"},
      {{.future = recorded::kPositions}, "mask-missing"},
      {{.future = 1}, "mask-missing"},
      {{.score_factor = 2}, "scale-missing"},
      {{.score_factor = 0.5}, "scale-missing"},
      {{.head_groups = 2}, "permuted-columns"},
      {{.position = 1}, "position-shifted"},
      {{.position_swapped = true}, "position-shifted"},
      {{.target = -1}, "targets-not-shifted"},
      {{.target = 1}, "targets-shifted-twice"},
      {{.absent_targets = true}, "absent-targets-counted"},
      {{.softmax_counted = 2}, "softmax-counted-again"},
      {{.output_bias = 2}, "bias-counted-again"},
      {{.output_bias = 0.5}, "bias-divided"},
      {{.output_product = 0.5}, "divided-twice"},
      {{.output_product = 2}, "summed-over-axis-again"},
      {{.output_part = {1, 2}}, "partial-sum"},
      {{.output_rounded = 2}, "rounded-to-bf16"},
      {{.input_product = 0.5}, "divided-twice"},
      {{.input_product = 2}, "summed-over-axis-again"},
      {{.input_part = {0, 2}}, "partial-sum"},
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(name_of(complete_step(all[i].deviation)), all[i].id) << "number " << i;
  }
}

/// A mistake in one gradient, made from what the terms of the right one are.
std::string name_of_gradient(const std::string& parameter,
                             const std::function<std::vector<double>(StepValues&)>& plant,
                             const RecordedStep* before = nullptr) {
  RecordedStep step = complete_step();
  StepValues values(step);
  const std::vector<double> wrong = plant(values);
  step.tensors["grad/" + parameter].values.assign(wrong.begin(), wrong.end());
  return name_of(step, before);
}

/// Weights of rows, multiplied with what `multiple` says of a row.
std::vector<double> weighted(const StepValues& values,
                             const std::function<double(std::size_t)>& multiple) {
  std::vector<double> weights = values.row_weights();
  for (std::size_t row = 0; row < weights.size(); ++row) weights[row] *= multiple(row);
  return weights;
}

TEST(Diagnosis, PartsOfTheBatch) {
  const auto named = [](const std::function<double(std::size_t)>& multiple) {
    const std::string p = "h.1.mlp.c_fc.weight";
    return name_of_gradient(p, [&](StepValues& v) { return v.gradient(p, weighted(v, multiple)); });
  };
  const auto sample = [](std::size_t row) { return row / recorded::kPositions; };
  EXPECT_EQ(named([&](std::size_t row) { return sample(row) < 2 ? 2 : 0; }), "one-part-only");
  EXPECT_EQ(named([&](std::size_t row) { return sample(row) < 2 ? 0 : 1; }), "one-part-only");
  EXPECT_EQ(named([&](std::size_t row) { return sample(row) == 1 ? 0 : 1; }), "part-missing");
  EXPECT_EQ(named([&](std::size_t row) { return sample(row) == 3 ? 2 : 1; }), "part-twice");
  EXPECT_EQ(named([&](std::size_t row) { return std::pow(0.5, sample(row)); }), "parts-weighted");
  // Of 16 and 10 targets.
  EXPECT_EQ(named([&](std::size_t row) { return sample(row) < 2 ? 26 / 32.0 : 26 / 20.0; }),
            "mean-of-means");
  EXPECT_EQ(named([&](std::size_t row) { return row % recorded::kPositions < 4 ? 1 : 0; }),
            "one-part-only")
      << "positions that ranks share out";
}

TEST(Diagnosis, WholeGradients) {
  const std::string p = "h.0.mlp.c_fc.weight";
  const auto named = [&](const std::function<double(double)>& change) {
    return name_of_gradient(p, [&](StepValues& v) {
      std::vector<double> gradient = v.gradient(p, v.row_weights());
      for (double& x : gradient) x = change(x);
      return gradient;
    });
  };
  EXPECT_EQ(named([](double x) { return 2 * x; }), "summed-over-axis-again");
  EXPECT_EQ(named([](double x) { return x / 2; }), "divided-twice");
  EXPECT_EQ(named([](double x) { return 26 * x; }), "not-divided-by-tokens");
  EXPECT_EQ(named([](double x) { return 0 * x; }), "zero");
  EXPECT_EQ(named([](double x) { return -x; }), "sign");
  EXPECT_EQ(named(rounded_to_bfloat16), "rounded-to-bf16");
}

TEST(Diagnosis, UsesOfATiedParameter) {
  const auto named = [](double embedding, double head) {
    return name_of_gradient("wte.weight", [&](StepValues& v) {
      auto sum = v.gradient("wte.weight", v.row_weights(), StepValues::Use::embedding);
      const auto of_head = v.gradient("wte.weight", v.row_weights(), StepValues::Use::head);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = embedding * sum[i] + head * of_head[i];
      return sum;
    });
  };
  EXPECT_EQ(named(1, 0), "tied-use-missing");
  EXPECT_EQ(named(0, 1), "tied-use-missing");
  EXPECT_EQ(named(2, 1), "tied-use-twice");
  EXPECT_EQ(named(1, 2), "tied-use-twice");
}

TEST(Diagnosis, TheStepBefore) {
  const std::string p = "h.0.attn.c_proj.weight";
  RecordedStep before;
  std::mt19937 draw(11);
  before.tensors["grad/" + p] =
      recorded::random_tensor({recorded::kChannels, recorded::kChannels}, 0, 0.1F, draw);
  const std::vector<float>& earlier = before.tensors["grad/" + p].values;
  const auto named = [&](double now, double kept) {
    return name_of_gradient(
        p,
        [&](StepValues& v) {
          std::vector<double> sum = v.gradient(p, v.row_weights());
          for (std::size_t i = 0; i < sum.size(); ++i) {
            sum[i] = now * sum[i] + kept * static_cast<double>(earlier[i]);
          }
          return sum;
        },
        &before);
  };
  EXPECT_EQ(named(1, 1), "not-zeroed");
  EXPECT_EQ(named(1, 0.3), "not-zeroed") << "it had been clipped";
  EXPECT_EQ(named(0, 1), "stale-gradient");
}

TEST(Diagnosis, WhatNobodyKnowsHasNoName) {
  const std::string p = "h.1.attn.c_attn.weight";
  std::mt19937 draw(12);
  const auto noise = [&] { return static_cast<double>(draw()) * 0x1p-31 - 1; };
  const std::string name = name_of_gradient(p, [&](StepValues& v) {
    std::vector<double> gradient = v.gradient(p, v.row_weights());
    for (double& x : gradient) x += 0.01 * noise();
    return gradient;
  });
  EXPECT_TRUE(name.starts_with("none: grad/" + p + ": none of the ")) << name;
}

}  // namespace
}  // namespace meshparity
