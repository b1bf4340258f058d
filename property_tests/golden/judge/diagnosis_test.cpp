// Mistakes planted in recorded steps of a small GPT-2: the judge must call each different, and name
// it.
#include "golden/judge/diagnosis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "golden/judge/bfloat16.h"
#include "golden/judge/model_walk.h"
#include "property_tests/golden/judge/recorded_gpt2.h"
#include "property_tests/golden/judge/small_recording.h"

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

TEST(Diagnosis, SaysWhichSizeSumsWentWrongOver) {
  const std::vector<Planted> all = {
      {{.output_bias = 0.5}, "the bias is shared out over ranks = 2"},
      {{.output_bias = 2}, "added on every rank before the sum over ranks = 2"},
      {{.output_product = 0.5}, "partial sums are averaged over ranks = 2"},
      {{.output_rounded = 2}, "partial sums over ranks = 2"},
      {{.output_part = {1, 2}}, "partial sums are not added up over ranks = 2"},
      {{.input_product = 0.5}, "divided once more by ranks = 2"},
      {{.input_part = {0, 2}}, "partial input gradients are not added up over ranks = 2"},
  };
  for (const Planted& planted : all) {
    const RecordedStep step = complete_step(planted.deviation);
    const Diagnosis diagnosis = diagnose(step, judge_recorded_step(step).first.value());
    ASSERT_FALSE(diagnosis.fitting.empty()) << planted.id;
    const std::string& why = diagnosis.fitting[0].mistake.why;
    EXPECT_TRUE(why.starts_with(planted.id)) << why;
  }
}

TEST(Diagnosis, AddendsBetweenBlocksOfWhichNothingElseIsRecorded) {
  RecordedStep step = complete_step();
  for (const std::string& name : boundary_names(step.model)) {
    step.tensors[name] = recorded::rounded(StepValues(step).at(name));
  }
  for (const std::string& name : recorded::activations(step)) {
    if (!name.ends_with("output/lm_head")) step.tensors.erase(name);
  }
  EXPECT_TRUE(judge_recorded_step(step).missing.empty());
  const auto named = [&](double branch, double stream) {
    RecordedStep wrong = step;
    std::vector<float>& out = wrong.tensors["output/h.0.residual_2"].values;
    const std::vector<float>& in = wrong.tensors["output/h.0.residual_1"].values;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto before = static_cast<double>(in[i]);
      out[i] =
          static_cast<float>(branch * (static_cast<double>(out[i]) - before) + stream * before);
    }
    const StepVerdict verdict = judge_recorded_step(wrong);
    const Diagnosis diagnosis = diagnose(wrong, verdict.first.value());
    if (diagnosis.fitting.empty()) return diagnosis.text;
    const Mistake& mistake = diagnosis.fitting[0].mistake;
    return diagnosis.tensor + ": " + mistake.id + ": " + mistake.what;
  };
  EXPECT_EQ(named(1, 0),
            "output/h.0.residual_2: addend-missing: the sum without the residual stream");
  EXPECT_EQ(named(0, 1), "output/h.0.residual_2: addend-missing: the residual stream alone");
  EXPECT_EQ(named(1, 2),
            "output/h.0.residual_2: addend-counted-again: the sum with the residual "
            "stream counted 2.000000 times");
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

/// What the first different tensor equals, where the parameter before the step was another one and
/// an update reached the rows of it that `is_new` says, of those that are computed with.
std::string name_of_stale(const std::function<bool(std::size_t row)>& is_new) {
  const std::string p = "param/h.0.mlp.c_fc.weight";
  RecordedStep step = recorded::without_values();
  RecordedStep before = step;
  const RecordedTensor updated = step.tensors[p];
  std::mt19937 draw(13);
  before.tensors[p] = recorded::random_tensor(updated.shape, 0, 0.5F, draw);
  for (std::size_t i = 0; i < updated.values.size(); ++i) {
    if (!is_new(i / updated.columns())) step.tensors[p].values[i] = before.tensors[p].values[i];
  }
  recorded::add_activations(step, {});
  recorded::add_gradients(step);
  step.tensors[p] = updated;
  EXPECT_TRUE(name_of(step).starts_with("none")) << "without the step before";
  const StepVerdict verdict = judge_recorded_step(step);
  const Diagnosis diagnosis = diagnose(step, verdict.first.value(), &before);
  if (diagnosis.fitting.empty()) return diagnosis.text;
  const Mistake& mistake = diagnosis.fitting[0].mistake;
  return diagnosis.tensor + ": " + mistake.id + ": " + mistake.what;
}

TEST(Diagnosis, ParametersOfTheStepBefore) {
  const std::string stale =
      "output/h.0.mlp.c_fc: stale-parameter: what the parameters of the step before give";
  EXPECT_EQ(name_of_stale([](std::size_t) { return false; }), stale);
  EXPECT_EQ(name_of_stale([](std::size_t row) { return row < 2 * recorded::kChannels; }),
            stale + ", in pieces 2 of 2 of its columns");
  EXPECT_EQ(name_of_stale([](std::size_t row) { return row % 3 != 0; }),
            stale + ", in some elements");
}

/// Steps of an MLP, two ranks of which have two samples each.
RecordedStep mlp_step() { return small_step({.kind = RecordedModel::Kind::mlp, .parts = 2}); }

TEST(Diagnosis, KnowsEveryOperationOfAnMlp) {
  const RecordedStep step = mlp_step();
  const auto expect_near = [](const std::vector<double>& computed, const RecordedTensor& recorded,
                              const std::string& name) {
    ASSERT_EQ(computed.size(), recorded.values.size()) << name;
    for (std::size_t i = 0; i < computed.size(); ++i) {
      EXPECT_NEAR(computed[i], static_cast<double>(recorded.values[i]), 1e-6) << name;
    }
  };
  for (const std::string& name : activation_names(step.model)) {
    StepValues values(step);
    ASSERT_TRUE(values.knows(name)) << name;
    expect_near(values.computed(name).value, step.tensors.at(name), name);
  }
  StepValues values(step);
  EXPECT_FALSE(values.knows("output/hidden.2"));
  EXPECT_NEAR(values.computed("loss").value[1], step.parts[1].loss, 1e-6);
  for (const std::string& name : recorded::parameters(step)) {
    expect_near(values.gradient(name, values.row_weights()), step.tensors.at("grad/" + name), name);
  }
}

TEST(Diagnosis, MistakesOfAnMlp) {
  RecordedStep step = mlp_step();
  RecordedTensor& hidden = step.tensors["output/hidden.1"];
  const std::vector<float>& bias = step.tensors["param/hidden.1.bias"].values;
  for (std::size_t i = 0; i < hidden.values.size(); ++i) {
    hidden.values[i] -= bias[i % bias.size()];
  }
  EXPECT_EQ(name_of(step), "addend-missing");

  step = mlp_step();
  StepValues values(step);
  std::vector<double> weights = values.row_weights();
  weights[0] = weights[1] = 0;  // of the first rank
  const std::vector<double> other_rank = values.gradient("hidden.0.weight", weights);
  step.tensors["grad/hidden.0.weight"].values.assign(other_rank.begin(), other_rank.end());
  EXPECT_EQ(name_of(step), "one-part-only");
}

TEST(Diagnosis, TargetsOfAnMlpThatAreNotShifted) {
  RecordedStep step = mlp_step();
  const RecordedTensor& logits = step.tensors["output/output"];
  const std::size_t context = step.tokens.size() / step.rows();
  const auto targets = std::ranges::count_if(step.targets, [](Token t) { return t >= 0; });
  for (RecordedPart& part : step.parts) {
    part.loss = 0;
    for (std::size_t row = part.samples.begin; row < part.samples.end; ++row) {
      if (step.targets[row] < 0) continue;
      const auto at = [&](std::size_t word) {
        return static_cast<double>(logits.values[row * logits.columns() + word]);
      };
      double sum = 0;
      for (std::size_t word = 0; word < logits.columns(); ++word) sum += std::exp(at(word));
      const auto last = static_cast<std::size_t>(step.tokens[(row + 1) * context - 1]);
      part.loss += (std::log(sum) - at(last)) / static_cast<double>(targets) / part.weight;
    }
  }
  EXPECT_EQ(name_of(step), "targets-not-shifted");
}

TEST(Diagnosis, SizesHaveTheNamesOfAMesh) {
  RecordedStep step = recorded::without_values();
  step.ranks = 12;
  step.axes = {{"dp", 2}, {"fsdp", 3}, {"pp", 1}, {"tp", 4}};
  step.microbatches = 5;
  std::vector<std::string> names;
  for (const NamedSize& size : sizes_of(step)) names.push_back(size.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{
                "dp = 2", "fsdp = 3", "tp = 4", "ranks = 12", "ranks that share the batch = 6",
                "ranks = 24", "microbatches = 5", "parts of the batch = 2", "targets = 26",
                "targets / samples = 6.5", "targets of the first part = 16"}));
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
