#include "property_tests/oracle/oracle_cases.h"

#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <random>

#include "model/model.h"
#include "oracle/compare.h"

namespace meshparity {

std::vector<ParameterSpec> StepCase::specs() const {
  return parameters_of(model_layers(recipe, vocabulary));
}

StepCase drawn_case(const Recipe& recipe, std::size_t vocabulary, double scale) {
  StepCase drawn{recipe, vocabulary, {}, {}};
  std::mt19937_64 random(recipe.seed);
  const auto steps = static_cast<std::int64_t>(scale * 0x1p16);
  std::uniform_int_distribution<std::int64_t> value(-steps, steps);
  std::uniform_int_distribution<Token> token(0, static_cast<Token>(vocabulary) - 1);
  for (const ParameterSpec& spec : drawn.specs()) {
    std::vector<float> values(spec.size());
    for (float& x : values) x = static_cast<float>(value(random)) * 0x1p-16F;
    drawn.parameters.push_back(std::move(values));
  }
  drawn.batch.tokens.resize(recipe.batch * recipe.context);
  drawn.batch.targets.resize(recipe.batch);
  for (Token& t : drawn.batch.tokens) t = token(random);
  for (Token& t : drawn.batch.targets) t = token(random);
  return drawn;
}

Recipe random_recipe(std::size_t largest) {
  const auto size = [&] { return *rc::gen::inRange<std::size_t>(1, largest + 1); };
  Recipe recipe;
  recipe.context = *rc::gen::inRange<std::size_t>(1, 5);
  recipe.embedding = *rc::gen::inRange<std::size_t>(1, 5);
  recipe.hidden = size();
  recipe.layers = *rc::gen::inRange<std::size_t>(1, 5);
  recipe.batch = size();
  recipe.batch_grain = size();
  recipe.feature_grain = size();
  recipe.vocab_grain = size();
  recipe.seed = *rc::gen::arbitrary<std::uint32_t>();
  recipe.lr = *rc::gen::element(0.1F, 1.0F, 0.003F);
  return recipe;
}

StepCase random_case(std::size_t largest) {
  const auto vocabulary = *rc::gen::inRange<std::size_t>(2, largest + 2);
  const double scale = *rc::gen::element(0.1, 0.5, 1.0, 3.0);
  return drawn_case(random_recipe(largest), vocabulary, scale);
}

bool cannot_overflow(const FloatTensors& parameters) {
  return std::ranges::all_of(parameters, [](const std::vector<float>& values) {
    return std::ranges::all_of(values, [](float x) { return std::abs(x) < 0x1p10F; });
  });
}

Tensors widened(const std::vector<ParameterSpec>& specs, const FloatTensors& values) {
  Tensors tensors;
  for (std::size_t p = 0; p < specs.size(); ++p) {
    tensors[specs[p].name] = widened(specs[p], values[p]);
  }
  return tensors;
}

OracleStep oracle_of(const StepCase& drawn, SumOrder order) {
  return oracle_step(drawn.recipe, widened(drawn.specs(), drawn.parameters), drawn.batch, order);
}

ElementaryFunctions library_functions() {
  return {[](float x) { return static_cast<float>(std::exp(static_cast<double>(x))); },
          [](float x) { return static_cast<float>(std::log(static_cast<double>(x))); }};
}

namespace {

float carelessly_rounded(double value, float argument) {
  const auto nearest = static_cast<float>(value);
  const bool up = std::bit_cast<std::uint32_t>(argument) % 2 == 0;
  const bool is_up = static_cast<double>(nearest) >= value;
  if (up == is_up || static_cast<double>(nearest) == value) return nearest;
  return std::nextafter(nearest, up ? INFINITY : -INFINITY);
}

}  // namespace

ElementaryFunctions careless_functions() {
  return {[](float x) { return carelessly_rounded(std::exp(static_cast<double>(x)), x); },
          [](float x) { return carelessly_rounded(std::log(static_cast<double>(x)), x); }};
}

double Ratios::largest_gradient() const {
  double largest = 0;
  for (const auto& [name, ratio] : gradients) largest = std::max(largest, ratio);
  return largest;
}

double Ratios::smallest_gradient() const {
  double smallest = gradients.empty() ? 0 : gradients.begin()->second;
  for (const auto& [name, ratio] : gradients) smallest = std::min(smallest, ratio);
  return smallest;
}

void Ratios::print(const std::string& title) const {
  std::cout << title << ": worst error/bound: loss " << loss << ", gradients "
            << smallest_gradient() << " to " << largest_gradient() << " by tensor, updates "
            << updated << '\n';
}

std::string outside(const OracleStep& oracle, const ReferenceStep& actual, Ratios& ratios,
                    std::size_t step) {
  const std::vector<float> loss{actual.loss};
  ratios.loss = std::max(ratios.loss, RoundingBound(oracle.loss).worst_ratio(loss));
  if (const auto found =
          first_difference(step, scalar_spec("loss"), RoundingBound(oracle.loss), loss)) {
    return found->text;
  }
  for (std::size_t p = 0; p < oracle.parameters.size(); ++p) {
    const ParameterStep& expected = oracle.parameters[p];
    const RoundingBound gradient(expected.gradient);
    double& worst = ratios.gradients[expected.spec.name];
    worst = std::max(worst, gradient.worst_ratio(actual.gradients[p]));
    if (const auto found = first_difference(step, expected.spec, gradient, actual.gradients[p])) {
      return "gradient: " + found->text;
    }
    const RoundingBound updated(expected.updated);
    ratios.updated = std::max(ratios.updated, updated.worst_ratio(actual.updated[p]));
    if (const auto found = first_difference(step, expected.spec, updated, actual.updated[p])) {
      return "updated: " + found->text;
    }
  }
  return "";
}

}  // namespace meshparity
