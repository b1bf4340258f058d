// The oracle's gradients of a transformer are the slopes of its own loss.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <string>

#include "property_tests/oracle/gpt2_cases.h"

namespace meshparity {
namespace {

/// The slope of a smooth function, from differences over h and 2 h: their errors are f''' h^2 / 6
/// and four times that, apart from h^4, so a third of how far they are apart is the first one's
/// error. What is left of it is taken to be less than all of that.
struct Slope {
  double value = 0;
  double error = 0;
};

template <typename LossAt>
Slope slope_of(const LossAt& loss_at, double center, double rounding) {
  constexpr double h = 0x1p-11;
  const auto over = [&](double step) {
    return (loss_at(center + step) - loss_at(center - step)) / (2 * step);
  };
  const double near = over(h);
  const double far = over(2 * h);
  return {near + (near - far) / 3, std::abs(near - far) + 2 * rounding / h};
}

/// By tensor: the largest gradient, and how far a slope may be off beside it.
struct Seen {
  double largest = 0;
  double largest_error = 0;
};

/// Of every element of every gradient. The coordinates of dropout do not change meanwhile.
std::map<std::string, Seen> compared(const StepCase& drawn, double& worst) {
  Tensors tensors = widened(drawn.model, drawn.values);
  const MicroBatch batch = drawn.whole_batch();
  const OracleStep step = oracle_step(drawn.model, tensors, batch, SumOrder::any, binary64());
  std::map<std::string, Seen> all;
  for (std::size_t p = 0; p < drawn.model.parameters.size(); ++p) {
    const std::string& name = drawn.model.parameters[p].name;
    const std::vector<double>& gradient = step.gradients[p].value;
    std::vector<double>& values = tensors.at(name).values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double center = values[i];
      const auto loss_at = [&](double x) {
        values[i] = x;
        return oracle_forward(drawn.model, tensors, batch).loss;
      };
      Slope slope = slope_of(loss_at, center, step.loss.bound[0]);
      values[i] = center;
      slope.error += step.gradients[p].bound[i];
      Seen& seen = all[name];
      seen.largest = std::max(seen.largest, std::abs(gradient[i]));
      seen.largest_error = std::max(seen.largest_error, slope.error);
      const double gap = std::abs(slope.value - gradient[i]);
      worst = std::max(worst, gap / slope.error);
      EXPECT_LE(gap, slope.error) << name << "[" << i << "]: gradient " << gradient[i];
    }
  }
  return all;
}

TEST(Gpt2Slope, EveryGradientIsTheSlopeOfTheLoss) {
  double worst = 0;
  for (const bool tied : {true, false}) {
    for (const double dropout : {0.0, 0.3}) {
      Recipe recipe = small_gpt2_recipe();
      recipe.tied = tied;
      recipe.dropout = dropout;
      recipe.layers = 1;
      recipe.channels = 4;
      recipe.positions = 4;
      recipe.sequence = 3;
      recipe.batch = 2;
      // With dropout, some targets are missing, too.
      const StepCase drawn = drawn_gpt2_case(recipe, 4, 0.5, dropout > 0 ? 3 : 0);
      for (const auto& [name, seen] : compared(drawn, worst)) {
        // A lost sample, head or part would change a gradient by more than is missed.
        EXPECT_GT(seen.largest / 20, seen.largest_error) << name;
      }
    }
  }
  std::cout << "finite differences: worst error/bound " << worst << '\n';
}

TEST(Gpt2Slope, ATiedGradientIsTheSumOfItsUses) {
  Recipe recipe = small_gpt2_recipe();
  const StepCase tied = drawn_gpt2_case(recipe, 5, 0.5);
  recipe.tied = false;
  StepCase apart = drawn_gpt2_case(recipe, 5, 0.5);
  apart.batch = tied.batch;
  for (auto& [name, values] : apart.values) {
    values = tied.values.at(name == "lm_head.weight" ? "wte.weight" : name);
  }
  const auto gradient_of = [](const StepCase& drawn, const std::string& name) {
    const OracleStep step = oracle_of(drawn);
    for (std::size_t p = 0; p < drawn.model.parameters.size(); ++p) {
      if (drawn.model.parameters[p].name == name) return step.gradients[p].value;
    }
    return std::vector<double>();
  };
  const std::vector<double> both = gradient_of(tied, "wte.weight");
  const std::vector<double> read = gradient_of(apart, "wte.weight");
  const std::vector<double> written = gradient_of(apart, "lm_head.weight");
  ASSERT_EQ(both.size(), written.size());
  for (std::size_t i = 0; i < both.size(); ++i) {
    EXPECT_NE(read[i] * written[i], 0);
    EXPECT_DOUBLE_EQ(both[i], read[i] + written[i]);
  }
}

}  // namespace
}  // namespace meshparity
