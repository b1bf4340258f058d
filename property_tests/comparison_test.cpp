// What holds a rank to one rank's run: the right run passes, and every way to be wrong is named.

#include "property_tests/proof/comparison.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/small_case.h"

namespace meshparity {
namespace {

/// What a rank reports, to be spoilt: all parameters, some of them not counted, and some once more
/// as copies.
struct Report {
  Recording shards;
  Recording copies;
  std::size_t ends = 1;
  std::size_t shown_at_end = std::numeric_limits<std::size_t>::max();  // shards
};

class ComparisonTeeth : public testing::Test {
 protected:
  /// What is said of a rank that reports this.
  std::string said_of(const Report& report) const {
    Comparison comparison(question_.expected, 3);
    const auto show = [&](std::size_t step, bool is_end) {
      const auto values_of = [&](const Recording& run) {
        return is_end ? run.final_values : run.steps[step].values;
      };
      const FloatTensors values = values_of(report.shards);
      const FloatTensors copied = values_of(report.copies);
      std::vector<Shard> parts;
      for (const ParameterSpec& spec : question_.model.parameters) parts.emplace_back(spec);
      std::vector<ShardView> shards;
      std::vector<ShardView> copies;
      for (std::size_t p = 0; p < parts.size(); ++p) {
        const std::string& name = parts[p].spec.name;
        ShardView view{&parts[p], p % 2 == 0, values.at(name), {}};
        if (!is_end) view.gradient = report.shards.steps[step].gradients.at(name);
        shards.push_back(view);
        copies.push_back({&parts[p], false, copied.at(name), {}});
      }
      StepView view{.step = step, .copies = copies};
      if (is_end) {
        view.shards = std::span(shards).first(std::min(shards.size(), report.shown_at_end));
        comparison.finished(view);
        return;
      }
      view.shards = shards;
      view.loss = report.shards.steps[step].loss;
      view.gradient_norm = report.shards.steps[step].gradient_norm;
      view.digest = report.shards.steps[step].digest;
      comparison.step(view);
    };
    const std::size_t steps = report.shards.steps.size();
    for (std::size_t step = 0; step < steps; ++step) show(step, false);
    for (std::size_t end = 0; end < report.ends; ++end) show(steps, true);
    if (!report.shards.divergence.empty()) comparison.diverged(report.shards.divergence);
    const std::optional<Difference> difference = comparison.result();
    return difference ? difference->text : "";
  }

  void expect_said(const std::string& words, const std::function<void(Report&)>& spoil) const {
    Report report = right_;
    spoil(report);
    EXPECT_TRUE(said_of(report).starts_with(words)) << words << " of '" << said_of(report) << "'";
  }

  const Question question_{small_case()};
  const Report right_{question_.expected, question_.expected};
};

TEST_F(ComparisonTeeth, TheRightRunPasses) { EXPECT_EQ(said_of(right_), ""); }

TEST_F(ComparisonTeeth, EveryParameterOfEveryStepIsCompared) {
  for (const ParameterSpec& spec : question_.model.parameters) {
    const std::string& name = spec.name;
    for (std::size_t step = 0; step < right_.shards.steps.size(); ++step) {
      const std::string at = "step " + std::to_string(step) + ", ";
      expect_said(at + "param/" + name,
                  [&](Report& r) { r.shards.steps[step].values.at(name).back() += 1; });
      expect_said(at + "param/" + name,
                  [&](Report& r) { r.copies.steps[step].values.at(name).back() += 1; });
      expect_said(at + "grad/" + name,
                  [&](Report& r) { r.shards.steps[step].gradients.at(name).back() += 1; });
    }
    expect_said("step 4, param/" + name,
                [&](Report& r) { r.shards.final_values.at(name).back() += 1; });
    expect_said("step 4, param/" + name,
                [&](Report& r) { r.copies.final_values.at(name).back() += 1; });
  }
}

TEST_F(ComparisonTeeth, LossNormAndDigestOfEveryStepAreCompared) {
  for (std::size_t step = 0; step < right_.shards.steps.size(); ++step) {
    const std::string at = "step " + std::to_string(step) + ", ";
    expect_said(at + "loss", [&](Report& r) { r.shards.steps[step].loss += 1; });
    expect_said(at + "rank 3: every shard of this rank agrees",
                [&](Report& r) { r.shards.steps[step].gradient_norm += 1; });
    expect_said(at + "rank 3: every shard of this rank agrees",
                [&](Report& r) { r.shards.steps[step].digest += 1; });
  }
}

TEST_F(ComparisonTeeth, WhatIsMissingIsNoticed) {
  expect_said("rank 3 reported 3 steps of 4", [](Report& r) { r.shards.steps.pop_back(); });
  expect_said("rank 3 reported 5 steps of 4", [](Report& r) {
    r.shards.steps.push_back(r.shards.steps.back());
    r.copies.steps.push_back(r.copies.steps.back());
  });
  expect_said("rank 3 reported 0 ends of training, not 1", [](Report& r) { r.ends = 0; });
  expect_said("rank 3 reported 2 ends of training, not 1", [](Report& r) { r.ends = 2; });
  expect_said("rank 3 showed ", [](Report& r) { r.shown_at_end = 1; });
  expect_said("rank 3 showed ", [](Report& r) { r.shown_at_end = 0; });
  expect_said("rank 3 ended with 'lost', one rank with ''",
              [](Report& r) { r.shards.divergence = "lost"; });
}

TEST(Divergence, TheSignOfANanIsNoPartOfIt) {
  EXPECT_TRUE(same_divergence("loss at step 3 is -nan", "loss at step 3 is nan"));
  EXPECT_TRUE(same_divergence("", ""));
  EXPECT_FALSE(same_divergence("loss at step 3 is nan", "loss at step 4 is nan"));
  EXPECT_FALSE(same_divergence("loss at step 3 is -inf", "loss at step 3 is inf"));
  EXPECT_FALSE(same_divergence("", "loss at step 3 is nan"));
}

TEST_F(ComparisonTeeth, CausesComeBeforeEffects) {
  expect_said("step 1, grad/embedding.weight", [](Report& r) {
    r.shards.steps[1].gradients.at("embedding.weight")[0] += 1;
    r.shards.steps[1].loss += 1;
    r.shards.steps[2].values.at("embedding.weight")[0] += 1;
    r.shards.steps.pop_back();
  });
}

RC_GTEST_PROP(FirstToDiffer, TheEarliestOnAnyRankIsEverybodysAnswer, ()) {
  const auto ranks = *rc::gen::inRange<std::size_t>(1, 7);
  std::vector<std::optional<Difference>> differences(ranks);
  std::optional<std::size_t> expected;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (*rc::gen::inRange(0, 3) > 0) continue;
    differences[rank] = Difference{*rc::gen::inRange<std::size_t>(0, 4),
                                   static_cast<Difference::Kind>(*rc::gen::inRange(0, 5)), "x"};
    if (!expected || differences[rank]->comes_before(*differences[*expected])) expected = rank;
  }
  std::vector<std::optional<std::size_t>> answers(ranks);
  run_simulated({.ranks = ranks}, [&](Comm& world) {
    answers[world.rank()] = first_to_differ(world, differences[world.rank()]);
  });
  for (const auto& answer : answers) RC_ASSERT(answer == expected);
}

/// A case on three ranks, and a question whose answer for one element is wrong.
std::string said_of_wrong_final_value(std::size_t element) {
  ParityCase c = small_case();
  c.strategy = Strategy::fsdp;
  c.how.mesh = parse_mesh("fsdp=3");
  Question question(c);
  question.expected.final_values.at("embedding.weight")[element] += 1;
  return difference_simulated(c, question).value_or("");
}

TEST(DifferenceSimulated, OneRankAloneIsHeard) {
  const std::size_t size = Question(small_case()).model.parameters.front().size();
  // Each rank has a third.
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const std::size_t element = rank * size / 3 + 1;
    const std::string said = said_of_wrong_final_value(element);
    EXPECT_TRUE(said.starts_with("step 4, param/embedding.weight[" + std::to_string(element)))
        << said;
    EXPECT_NE(said.find(", rank " + std::to_string(rank) + ":"), std::string::npos) << said;
  }
}

TEST(DifferenceSimulated, AStepThatNobodyReportsIsMissed) {
  ParityCase c = small_case();
  for (const StrategyEntry& entry : strategies()) {
    c.strategy = entry.strategy;
    Question question(c);
    EXPECT_EQ(difference_simulated(c, question), std::nullopt);
    question.expected.steps.push_back(question.expected.steps.back());
    EXPECT_NE(difference_simulated(c, question).value_or("").find("4 steps of 5"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace meshparity
