// The oracle's equations, judged by finite differences of its own loss.

#include "oracle/oracle.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/mlp.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

/// How far apart numbers are.
struct Extremes {
  double least = std::numeric_limits<double>::infinity();
  double most = -std::numeric_limits<double>::infinity();

  void add(double x) {
    least = std::min(least, x);
    most = std::max(most, x);
  }
  double range() const { return most - least; }
};

/// The slope of the loss along one parameter, by central difference, and how far it may be from the
/// derivative.
struct Slope {
  bool smooth = false;  ///< no ReLU changed sides; otherwise nothing else is meaningful
  double value = 0;
  double error = 0;
};

/// Along one parameter and while no ReLU changes sides, every logit is an affine function, or
/// z = a + b x + c x^2 if two blocks use the parameter. Sign patterns that agree at both ends and
/// in the middle agree in between (a parabola might still touch 0 and come back: that would be
/// called a wrong gradient, never hide one). The loss is loss_i = log sum exp(z) - z_t. With
/// moments under the softmax, its third derivative is
///     (third central moment of z') + 3 cov(z', z''),
/// at most r^3 / 4 + 3/4 r s with r the range of z' and s that of z'' (r * variance, and
/// Popoviciu's inequality; the sharp constant is 3^0.5 / 18, which leaves more than twice the room
/// that rounding in r and s could need). So
///     |difference quotient - derivative|
///         <= h^2 / 6 * mean (r^3 / 4 + 3/4 r s) + (rounding of the losses) / 2h.
Slope central_difference(const StepCase& drawn, Tensors& tensors, double& parameter) {
  constexpr double h = 0x1p-15;
  const MicroBatch batch = drawn.whole_batch();
  const double center = parameter;
  const auto at = [&](double value) {
    parameter = value;
    return oracle_forward(drawn.model, tensors, batch);
  };
  const auto bound_at = [&](double value) {
    parameter = value;
    return oracle_step(drawn.model, tensors, batch, SumOrder::any, binary64()).loss.bound[0];
  };
  const OracleForward above = at(center + h);
  const OracleForward below = at(center - h);
  const double rounding = bound_at(center + h) + bound_at(center - h);
  const OracleForward here = at(center);

  Slope slope;
  slope.smooth = above.active == here.active && below.active == here.active;
  slope.value = (above.loss - below.loss) / (2 * h);
  const std::size_t samples = batch.rows();
  const std::size_t vocabulary = above.logits.size() / samples;
  double thirds = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    Extremes first;
    Extremes second;
    for (std::size_t j = i * vocabulary; j < (i + 1) * vocabulary; ++j) {
      first.add((above.logits[j] - below.logits[j]) / (2 * h));
      second.add((above.logits[j] - 2 * here.logits[j] + below.logits[j]) / (h * h));
    }
    // z' itself moves by h z'' within the interval.
    const double r = first.range() + h * second.range();
    thirds += std::pow(r, 3) / 4 + 0.75 * r * second.range();
  }
  slope.error = h * h / 6 * thirds / static_cast<double>(samples) + rounding / (2 * h);
  return slope;
}

struct DifferenceCount {
  std::size_t smooth = 0;
  std::size_t kinks = 0;  ///< not judged
  double worst_ratio = 0;
};

/// Checks every element of every gradient; calls `judge(spec, index, gradient, slope, error)`.
template <typename Judge>
void for_each_slope(const StepCase& drawn, DifferenceCount& count, const Judge& judge) {
  Tensors tensors = widened(drawn.model, drawn.values);
  const OracleStep step =
      oracle_step(drawn.model, tensors, drawn.whole_batch(), SumOrder::any, binary64());
  for (std::size_t p = 0; p < drawn.model.parameters.size(); ++p) {
    const ParameterSpec& spec = drawn.model.parameters[p];
    const Bounded& gradient = step.gradients[p];
    std::vector<double>& values = tensors.at(spec.name).values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Slope slope = central_difference(drawn, tensors, values[i]);
      ++(slope.smooth ? count.smooth : count.kinks);
      if (slope.smooth) {
        judge(spec, i, gradient.value[i], slope.value, slope.error + gradient.bound[i]);
      }
    }
  }
}

TEST(Oracle, GradientsAreTheSlopesOfTheLoss) {
  DifferenceCount count;
  EXPECT_TRUE(rc::check("every gradient is the slope of the loss", [&] {
    for_each_slope(
        random_case(4), count,
        [&](const ParameterSpec& spec, std::size_t i, double gradient, double slope, double error) {
          const double gap = std::abs(slope - gradient);
          count.worst_ratio = std::max(count.worst_ratio, gap / error);
          if (gap > error) {
            RC_FAIL(spec.name + "[" + std::to_string(i) + "]: gradient " +
                    std::to_string(gradient) + ", slope " + std::to_string(slope) +
                    ", may differ by " + std::to_string(error));
          }
        });
  }));
  std::cout << "finite differences: " << count.smooth << " elements, " << count.kinks
            << " skipped at a kink, worst error/bound " << count.worst_ratio << '\n';
  EXPECT_GT(count.smooth, count.kinks);
}

/// By tensor, how much more than finite differences can miss a mistake would change: a sum instead
/// of a mean, a lost sample or a wrong sign change a gradient by a sixth or more.
std::map<std::string, double> seen_by_differences(const StepCase& drawn) {
  std::map<std::string, double> largest;
  DifferenceCount count;
  for_each_slope(
      drawn, count,
      [&](const ParameterSpec& spec, std::size_t, double gradient, double, double error) {
        double& seen = largest[spec.name];
        seen = std::max(seen, std::abs(gradient) / 6 / (2 * error));
      });
  return largest;
}

TEST(Oracle, FiniteDifferencesSeeEveryTensor) {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 2;
  recipe.hidden = 5;
  recipe.layers = 2;
  recipe.batch = 6;
  for (const Model& model : {mlp(recipe, 5), residual_model(recipe, 5, 2, false),
                             residual_model(recipe, 5, 2, true), shared_linear_model(recipe, 5)}) {
    const auto seen = seen_by_differences(drawn_case(recipe, model, 1.0));
    EXPECT_EQ(seen.size(), model.parameters.size());
    for (const auto& [name, times] : seen) EXPECT_GT(times, 1) << name;
  }
}

TEST(Oracle, ASharedParameterHasTheGradientsOfItsUses) {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 2;
  recipe.hidden = 5;
  recipe.batch = 6;
  const StepCase shared = drawn_case(recipe, residual_model(recipe, 5, 2, true), 1.0);
  StepCase apart = drawn_case(recipe, residual_model(recipe, 5, 2, false), 1.0);
  apart.batch = shared.batch;
  const auto of_first = [](std::string name) { return name.replace(name.find('1'), 1, "0"); };
  for (auto& [name, values] : apart.values) {
    const bool second = name.starts_with("block.1");
    values = shared.values.at(second ? of_first(name) : name);
  }
  std::map<std::string, std::vector<double>> sums;
  const OracleStep of_apart = oracle_of(apart);
  for (std::size_t p = 0; p < apart.model.parameters.size(); ++p) {
    const std::string& name = apart.model.parameters[p].name;
    const std::vector<double>& gradient = of_apart.gradients[p].value;
    auto& sum = sums[name.starts_with("block.1") ? of_first(name) : name];
    sum.resize(gradient.size());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += gradient[i];
  }
  const OracleStep of_shared = oracle_of(shared);
  ASSERT_EQ(sums.size(), shared.model.parameters.size());
  for (std::size_t p = 0; p < sums.size(); ++p) {
    EXPECT_EQ(of_shared.gradients[p].value, sums.at(shared.model.parameters[p].name));
  }
}

TEST(Oracle, RowsWithoutTargetAddNothing) {
  Recipe recipe;
  recipe.context = 2;
  recipe.embedding = recipe.hidden = 3;
  recipe.batch = 5;
  StepCase drawn = drawn_case(recipe, 4, 1.0);
  StepCase fewer = drawn;
  fewer.batch.tokens.resize(3 * recipe.context);
  fewer.batch.targets.resize(3);
  drawn.batch.targets[3] = drawn.batch.targets[4] = kNoTarget;
  const OracleStep padded = oracle_of(drawn);
  const OracleStep short_batch = oracle_of(fewer);
  EXPECT_DOUBLE_EQ(padded.loss.value[0], short_batch.loss.value[0]);
  for (std::size_t p = 0; p < padded.gradients.size(); ++p) {
    for (std::size_t i = 0; i < padded.gradients[p].value.size(); ++i) {
      EXPECT_NEAR(padded.gradients[p].value[i], short_batch.gradients[p].value[i], 0x1p-48);
    }
  }

  for (Token& target : drawn.batch.targets) target = kNoTarget;
  const OracleStep nothing = oracle_of(drawn);
  EXPECT_EQ(nothing.loss.value[0], 0);
  for (const Bounded& gradient : nothing.gradients) {
    EXPECT_EQ(std::ranges::count(gradient.value, 0), std::ssize(gradient.value));
    EXPECT_LT(std::ranges::max(gradient.bound), 0x1p-140);
  }
}

TEST(Oracle, RefusesWhatDoesNotFit) {
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 2;
  const StepCase drawn = drawn_case(recipe, 3, 1.0);
  const auto refuses = [&](const auto& spoil) {
    StepCase bad = drawn;
    Tensors tensors = widened(bad.model, bad.values);
    spoil(bad, tensors);
    EXPECT_THROW(oracle_step(bad.model, tensors, bad.whole_batch()), std::invalid_argument);
  };
  refuses([](StepCase&, Tensors& t) { t.erase("output.bias"); });
  refuses([](StepCase&, Tensors& t) { t["extra"] = t["output.bias"]; });
  refuses([](StepCase&, Tensors& t) { t["output.bias"].values.pop_back(); });
  refuses([](StepCase&, Tensors& t) { t["output.bias"] = t["hidden.0.bias"]; });
  refuses([](StepCase&, Tensors& t) { t["hidden.0.weight"] = t["output.weight"]; });
  refuses([](StepCase&, Tensors& t) { t["embedding.weight"] = {4, 2, std::vector<double>(8)}; });
  refuses([](StepCase& c, Tensors&) { c.batch.tokens[0] = 3; });
  refuses([](StepCase& c, Tensors&) { c.batch.targets[0] = -2; });
  refuses([](StepCase& c, Tensors&) { c.batch.tokens.pop_back(); });
  refuses([](StepCase& c, Tensors&) { c.batch = {}; });
  refuses([](StepCase& c, Tensors&) { c.recipe.batch_grain = 0; });
  refuses([](StepCase& c, Tensors&) { c.model.head.vocab_grain = 0; });
  refuses([](StepCase& c, Tensors&) { c.model.head.vocabulary = 4; });
  refuses([](StepCase& c, Tensors&) { c.model.blocks.pop_back(); });
  refuses([](StepCase& c, Tensors&) { c.model.blocks.erase(c.model.blocks.begin()); });
  refuses([](StepCase& c, Tensors&) { c.model.blocks[1].uses.pop_back(); });
  refuses([](StepCase& c, Tensors&) { c.model.blocks[1].uses[0] = 7; });
  refuses([](StepCase& c, Tensors&) { c.model.blocks[2].uses = c.model.blocks[1].uses; });

  MicroBatch in_parts = drawn.whole_batch();
  in_parts.leaves.parts = 2;
  EXPECT_THROW(oracle_step(drawn.model, widened(drawn.model, drawn.values), in_parts),
               std::invalid_argument);
}

}  // namespace
}  // namespace meshparity
