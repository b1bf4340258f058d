// Native reductions against the oracle: every step of a run is judged, and every update.

#include "property_tests/proof/native_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "property_tests/small_case.h"

namespace meshparity {
namespace {

class NativeCheckTeeth : public testing::Test {
 protected:
  /// What is said of one rank's own run after it was spoilt.
  std::string said_of(const std::function<void(Recording&)>& spoil) const {
    Recording run = question_.expected;
    spoil(run);
    double ratio = 0;
    return difference_in(run, case_, question_, ratio).value_or("");
  }

  const ParityCase case_ = small_case();
  const Question question_{case_};
};

TEST_F(NativeCheckTeeth, OneRanksRunPasses) {
  double ratio = 0;
  EXPECT_EQ(difference_in(question_.expected, case_, question_, ratio), std::nullopt);
  EXPECT_GT(ratio, 0.01);
  EXPECT_LE(ratio, 1);
}

TEST_F(NativeCheckTeeth, EveryStepIsJudged) {
  for (std::size_t step = 0; step < case_.recipe.steps; ++step) {
    const std::string at = "step " + std::to_string(step) + ", ";
    EXPECT_EQ(said_of([&](Recording& r) { r.steps[step].loss *= 1.001F; }).find(at + "loss"), 0U);
    EXPECT_EQ(said_of([&](Recording& r) {
                r.steps[step].gradients.at("hidden.0.weight")[3] += 0.001F;
              }).find(at + "grad/hidden.0.weight[3]"),
              0U);
  }
}

TEST_F(NativeCheckTeeth, EveryUpdateIsJudged) {
  // What a step starts from is what the one before has made.
  const auto spoilt = [&](std::size_t step, const char* tensor) {
    return said_of([&](Recording& r) {
      const bool is_last = step + 1 == r.steps.size();
      FloatTensors& values = is_last ? r.final_values : r.steps[step + 1].values;
      values.at(tensor)[1] += 0.001F;
    });
  };
  for (std::size_t step = 0; step < case_.recipe.steps; ++step) {
    for (const char* tensor : {"embedding.weight", "hidden.0.weight", "output.bias"}) {
      EXPECT_EQ(spoilt(step, tensor).find("step " + std::to_string(step) + ", param/" + tensor), 0U)
          << spoilt(step, tensor);
    }
  }
}

TEST_F(NativeCheckTeeth, WhatIsMissingOrDisagreesIsNoticed) {
  EXPECT_EQ(said_of([](Recording& r) { r.steps.pop_back(); }), "not every step was reported");
  EXPECT_EQ(said_of([](Recording& r) { r.replicas_differ = "loss"; }), "ranks disagree about loss");
}

}  // namespace
}  // namespace meshparity
