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

#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

/// The slope of the loss along one parameter, by central difference, and how far it may be from the
/// derivative.
struct Slope {
  bool smooth = false;  ///< no ReLU changed sides; otherwise nothing else is meaningful
  double value = 0;
  double error = 0;
};

/// Along one parameter and while no ReLU changes sides, every logit is an affine function, so sign
/// patterns that agree at both ends agree in between, and loss_i = log sum exp(a + b x) - (a_t +
/// b_t x). Its third derivative is the third central moment of b under the softmax, at most r^3 / 4
/// with r the range of b (r * variance, and Popoviciu's inequality; the sharp constant is 3^0.5 /
/// 18, which leaves more than twice the room that rounding in r could need). So
///     |difference quotient - derivative| <= h^2 / 6 * mean r^3 / 4 + (rounding of the losses) /
///     2h.
Slope central_difference(const Recipe& recipe, Tensors& tensors, double& parameter,
                         const Batch& batch) {
  constexpr double h = 0x1p-15;
  const double center = parameter;
  const std::vector<bool> active = oracle_forward(tensors, batch).active;
  parameter = center + h;
  const OracleForward above = oracle_forward(tensors, batch);
  const Bounded loss_above = oracle_step(recipe, tensors, batch, SumOrder::any, binary64()).loss;
  parameter = center - h;
  const OracleForward below = oracle_forward(tensors, batch);
  const Bounded loss_below = oracle_step(recipe, tensors, batch, SumOrder::any, binary64()).loss;
  parameter = center;

  Slope slope;
  slope.smooth = above.active == active && below.active == active;
  slope.value = (above.loss - below.loss) / (2 * h);
  const std::size_t samples = batch.targets.size();
  const std::size_t vocabulary = above.logits.size() / samples;
  double cubes = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    double least = std::numeric_limits<double>::infinity();
    double most = -least;
    for (std::size_t j = i * vocabulary; j < (i + 1) * vocabulary; ++j) {
      const double slope_of_logit = (above.logits[j] - below.logits[j]) / (2 * h);
      least = std::min(least, slope_of_logit);
      most = std::max(most, slope_of_logit);
    }
    cubes += std::pow(most - least, 3);
  }
  slope.error = h * h / 24 * cubes / static_cast<double>(samples) +
                (loss_above.bound[0] + loss_below.bound[0]) / (2 * h);
  return slope;
}

struct DifferenceCount {
  std::size_t smooth = 0;
  std::size_t kinks = 0;  ///< not judged
  double worst_ratio = 0;
};

/// Checks every element of every gradient; calls `judge(step, index, gradient, slope, error)`.
template <typename Judge>
void for_each_slope(const StepCase& drawn, DifferenceCount& count, const Judge& judge) {
  Tensors tensors = widened(drawn.specs(), drawn.parameters);
  const OracleStep step =
      oracle_step(drawn.recipe, tensors, drawn.batch, SumOrder::any, binary64());
  for (const ParameterStep& parameter : step.parameters) {
    std::vector<double>& values = tensors.at(parameter.spec.name).values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Slope slope = central_difference(drawn.recipe, tensors, values[i], drawn.batch);
      ++(slope.smooth ? count.smooth : count.kinks);
      if (slope.smooth) {
        judge(parameter, i, slope.value, slope.error + parameter.gradient.bound[i]);
      }
    }
  }
}

TEST(Oracle, GradientsAreTheSlopesOfTheLoss) {
  DifferenceCount count;
  EXPECT_TRUE(rc::check("every gradient is the slope of the loss", [&] {
    for_each_slope(random_case(5), count,
                   [&](const ParameterStep& parameter, std::size_t i, double slope, double error) {
                     const double gap = std::abs(slope - parameter.gradient.value[i]);
                     count.worst_ratio = std::max(count.worst_ratio, gap / error);
                     if (gap > error) {
                       RC_FAIL(parameter.spec.name + "[" + std::to_string(i) + "]: gradient " +
                               std::to_string(parameter.gradient.value[i]) + ", slope " +
                               std::to_string(slope) + ", may differ by " + std::to_string(error));
                     }
                   });
  }));
  std::cout << "finite differences: " << count.smooth << " elements, " << count.kinks
            << " skipped at a kink, worst error/bound " << count.worst_ratio << '\n';
  EXPECT_GT(count.smooth, count.kinks);
}

TEST(Oracle, FiniteDifferencesSeeEveryTensor) {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 3;
  recipe.hidden = 5;
  recipe.layers = 2;
  recipe.batch = 6;
  std::map<std::string, double> largest;
  DifferenceCount count;
  for_each_slope(drawn_case(recipe, 5, 1.0), count,
                 [&](const ParameterStep& parameter, std::size_t i, double, double error) {
                   // A sum instead of a mean, a lost sample or a wrong sign change a gradient by a
                   // sixth or more.
                   const double change = std::abs(parameter.gradient.value[i]) / 6;
                   double& seen = largest[parameter.spec.name];
                   seen = std::max(seen, change / (2 * error));
                 });
  EXPECT_EQ(largest.size(), 7U);
  for (const auto& [name, seen] : largest) EXPECT_GT(seen, 1) << name;
}

TEST(Oracle, RefusesWhatDoesNotFit) {
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 2;
  const StepCase drawn = drawn_case(recipe, 3, 1.0);
  const auto refuses = [&](const auto& spoil) {
    StepCase bad = drawn;
    Tensors tensors = widened(bad.specs(), bad.parameters);
    spoil(bad, tensors);
    EXPECT_THROW(oracle_step(bad.recipe, tensors, bad.batch), std::invalid_argument);
  };
  refuses([](StepCase&, Tensors& t) { t.erase("output.bias"); });
  refuses([](StepCase&, Tensors& t) { t["extra"] = t["output.bias"]; });
  refuses([](StepCase&, Tensors& t) { t["output.bias"].values.pop_back(); });
  refuses([](StepCase&, Tensors& t) { t["output.bias"] = t["hidden.0.bias"]; });
  refuses([](StepCase&, Tensors& t) { t["hidden.0.weight"] = t["output.weight"]; });
  refuses([](StepCase&, Tensors& t) { t["embedding.weight"] = {4, 2, std::vector<double>(8)}; });
  refuses([](StepCase& c, Tensors&) { c.batch.tokens[0] = 3; });
  refuses([](StepCase& c, Tensors&) { c.batch.targets[0] = -1; });
  refuses([](StepCase& c, Tensors&) { c.batch.tokens.pop_back(); });
  refuses([](StepCase& c, Tensors&) { c.batch = {}; });
  refuses([](StepCase& c, Tensors&) { c.recipe.batch_grain = 0; });
}

}  // namespace
}  // namespace meshparity
