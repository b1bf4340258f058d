#include "property_tests/oracle/oracle_cases.h"

#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <numbers>
#include <random>

#include "model/mlp.h"
#include "oracle/compare.h"

namespace meshparity {

MicroBatch StepCase::whole_batch() const {
  const std::size_t positions = positions_of(recipe);
  return {.seed = recipe.seed,
          .step = step,
          .slots = {0, batch.targets.size() / positions},
          .leaves = {.positions = positions,
                     .samples = recipe.batch_grain,
                     .parts = recipe.sequence_leaves},
          .tokens = batch.tokens,
          .targets = batch.targets};
}

namespace {

/// Adds a weight and its bias; returns what blocks call them.
std::vector<std::size_t> add_linear(Model& model, const std::string& name, std::size_t inputs,
                                    std::size_t outputs) {
  ParameterSpec weight;
  weight.name = name + ".weight";
  weight.rows = inputs;
  weight.columns = outputs;
  weight.initial = {Initial::Kind::uniform, 1 / static_cast<float>(inputs)};
  ParameterSpec bias = weight;
  bias.name = name + ".bias";
  bias.rows = 1;
  bias.is_vector = true;
  const std::size_t first = model.parameters.size();
  model.parameters.insert(model.parameters.end(), {weight, bias});
  return {first, first + 1};
}

/// A model that is only an embedding so far.
Model embedding_alone(const Recipe& recipe, std::size_t vocabulary) {
  Model model = mlp(recipe, vocabulary);
  model.parameters.resize(1);
  model.blocks.resize(1);
  return model;
}

void add_output(Model& model, const Recipe& recipe, std::size_t width) {
  const auto uses = add_linear(model, "output", width, model.head.vocabulary);
  const LinearSpec linear{.input_grain = recipe.feature_grain, .output_grain = recipe.vocab_grain};
  model.blocks.push_back({"output", linear, uses});
}

}  // namespace

Model residual_model(const Recipe& recipe, std::size_t vocabulary, std::size_t depth, bool shared) {
  Model model = embedding_alone(recipe, vocabulary);
  const std::size_t width = recipe.context * recipe.embedding;
  for (std::size_t i = 0; i < depth; ++i) {
    const std::string name = "block." + std::to_string(i);
    std::vector<std::size_t> uses = model.blocks.back().uses;
    if (!shared || i % 2 == 0) {
      uses = add_linear(model, name + ".up", width, recipe.hidden);
      const auto down = add_linear(model, name + ".down", recipe.hidden, width);
      uses.insert(uses.end(), down.begin(), down.end());
    }
    const FeedForwardSpec block{.width_grain = recipe.feature_grain,
                                .feature_grain = recipe.feature_grain};
    model.blocks.push_back({name, block, uses});
  }
  add_output(model, recipe, width);
  return model;
}

Model shared_linear_model(const Recipe& recipe, std::size_t vocabulary) {
  Model model = embedding_alone(recipe, vocabulary);
  const std::size_t width = recipe.context * recipe.embedding;
  const auto shared = add_linear(model, "square", width, width);
  const LinearSpec linear{
      .relu = true, .input_grain = recipe.feature_grain, .output_grain = recipe.feature_grain};
  model.blocks.push_back({"first", linear, shared});
  model.blocks.push_back({"second", linear, shared});
  add_output(model, recipe, width);
  return model;
}

StepCase drawn_case(const Recipe& recipe, const Model& model, double scale) {
  StepCase drawn{.recipe = recipe, .model = model};
  std::mt19937_64 random(recipe.seed);
  const auto steps = static_cast<std::int64_t>(scale * 0x1p16);
  std::uniform_int_distribution<std::int64_t> value(-steps, steps);
  std::uniform_int_distribution<Token> token(0, static_cast<Token>(model.head.vocabulary) - 1);
  for (const ParameterSpec& spec : model.parameters) {
    std::vector<float>& values = drawn.values[spec.name];
    values.resize(spec.size());
    for (float& x : values) x = static_cast<float>(value(random)) * 0x1p-16F;
  }
  const std::size_t rows = recipe.batch * positions_of(recipe);
  drawn.batch.tokens.resize(recipe.model == ModelKind::mlp ? rows * recipe.context : rows);
  drawn.batch.targets.resize(rows);
  for (Token& t : drawn.batch.tokens) t = token(random);
  for (Token& t : drawn.batch.targets) t = token(random);
  return drawn;
}

StepCase drawn_case(const Recipe& recipe, std::size_t vocabulary, double scale) {
  return drawn_case(recipe, mlp(recipe, vocabulary), scale);
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
  recipe.lr = *rc::gen::element(0.1, 1.0, 0.003);
  return recipe;
}

Model random_model(const Recipe& recipe, std::size_t vocabulary) {
  switch (*rc::gen::inRange(0, 4)) {
    case 0:
      return residual_model(recipe, vocabulary, recipe.layers, false);
    case 1:
      return residual_model(recipe, vocabulary, recipe.layers, true);
    case 2:
      return shared_linear_model(recipe, vocabulary);
    default:
      return mlp(recipe, vocabulary);
  }
}

namespace {

StepCase random_case_of(const Recipe& recipe, const Model& model) {
  StepCase drawn = drawn_case(recipe, model, *rc::gen::element(0.1, 0.5, 1.0, 3.0));
  if (*rc::gen::inRange(0, 4) == 0) {
    for (Token& target : drawn.batch.targets) {
      if (*rc::gen::inRange(0, 3) == 0) target = kNoTarget;
    }
  }
  return drawn;
}

}  // namespace

StepCase random_case(std::size_t largest) {
  const auto vocabulary = *rc::gen::inRange<std::size_t>(2, largest + 2);
  const Recipe recipe = random_recipe(largest);
  return random_case_of(recipe, random_model(recipe, vocabulary));
}

StepCase random_mlp_case(std::size_t largest) {
  const auto vocabulary = *rc::gen::inRange<std::size_t>(2, largest + 2);
  const double scale = *rc::gen::element(0.1, 0.5, 1.0, 3.0);
  return drawn_case(random_recipe(largest), vocabulary, scale);
}

bool cannot_overflow(const Model& model, const FloatTensors& values) {
  const bool residual = std::ranges::any_of(model.blocks, [](const BlockSpec& block) {
    return std::holds_alternative<FeedForwardSpec>(block.kind);
  });
  const float limit = residual ? 0x1p3F : 0x1p10F;
  return std::ranges::all_of(values, [&](const auto& tensor) {
    return std::ranges::all_of(tensor.second, [&](float x) { return std::abs(x) < limit; });
  });
}

Tensors widened(const Model& model, const FloatTensors& values) {
  Tensors tensors;
  for (const ParameterSpec& spec : model.parameters) {
    tensors[spec.name] = widened(spec, values.at(spec.name));
  }
  return tensors;
}

OracleStep oracle_of(const StepCase& drawn, SumOrder order) {
  return oracle_step(drawn.model, widened(drawn.model, drawn.values), drawn.whole_batch(), order);
}

ComputedStep literal_step(const StepCase& drawn, const ElementaryFunctions& functions) {
  ComputedStep result{reference_step(drawn.model, drawn.values, drawn.whole_batch(), functions),
                      {}};
  result.step.first_moments = drawn.first_moments;
  result.step.second_moments = drawn.second_moments;
  result.updated = reference_update(drawn.model, result.step, drawn.recipe, drawn.step);
  return result;
}

namespace {

/// x / (1 + e^(-2u)) and its derivative, in binary64.
double gelu_of(double x) {
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(-2 * u));
}
double gelu_slope_of(double x) {
  const double root = std::sqrt(2 / std::numbers::pi);
  const double u = root * (x + 0.044715 * x * x * x);
  const double power = std::exp(-2 * std::abs(u));
  const double bend = 2 * root * x * (1 + 3 * 0.044715 * x * x);
  return ((u < 0 ? power : 1) + power / (1 + power) * bend) / (1 + power);
}

float carelessly_rounded(double value, float argument) {
  const auto nearest = static_cast<float>(value);
  const bool up = std::bit_cast<std::uint32_t>(argument) % 2 == 0;
  const bool is_up = static_cast<double>(nearest) >= value;
  if (up == is_up || static_cast<double>(nearest) == value) return nearest;
  return std::nextafter(nearest, up ? INFINITY : -INFINITY);
}

using Rounding = float (*)(double, float);

ElementaryFunctions functions_rounded(Rounding rounded) {
  const auto rounds = [rounded](double (*function)(double)) {
    return [=](float x) { return rounded(function(static_cast<double>(x)), x); };
  };
  return {rounds([](double x) { return std::exp(x); }),
          rounds([](double x) { return std::log(x); }), rounds(gelu_of), rounds(gelu_slope_of)};
}

}  // namespace

ElementaryFunctions library_functions() {
  return functions_rounded([](double value, float) { return static_cast<float>(value); });
}

ElementaryFunctions careless_functions() { return functions_rounded(carelessly_rounded); }

std::string outside(const StepCase& drawn, const ComputedStep& actual, Judgement& worst,
                    std::size_t step, SumOrder order) {
  const MicroBatch batch = drawn.whole_batch();
  const StepUnderTest test{drawn.model, batch, actual.step, step, order};
  Judgement judgement = judge_end_to_end(test);
  judgement.add(judge_update(test, actual.updated, drawn.recipe));
  if (!actual.step.boundary_values.empty()) judgement.add(judge_blocks(test));
  worst.add(judgement);
  return judgement.first_difference.value_or("");
}

double largest_ratio(const Judgement& judgement, const std::string& part) {
  double largest = 0;
  for (const auto& [name, ratio] : judgement.ratios) {
    if (name.find(part) != std::string::npos) largest = std::max(largest, ratio);
  }
  return largest;
}

double smallest_ratio(const Judgement& judgement, const std::string& part) {
  double smallest = std::numeric_limits<double>::infinity();
  for (const auto& [name, ratio] : judgement.ratios) {
    if (name.find(part) != std::string::npos) smallest = std::min(smallest, ratio);
  }
  return smallest;
}

namespace {

/// What `judge_end_to_end` says of gradients, and what `judge_blocks` says.
Judgement part_of(const Judgement& judgement, bool end_to_end) {
  Judgement part;
  for (const auto& [name, ratio] : judgement.ratios) {
    if (name == "loss" || name.starts_with("param/")) continue;
    if (name.starts_with("grad/") == end_to_end) part.ratios[name] = ratio;
  }
  return part;
}

}  // namespace

void print(const std::string& title, const Judgement& judgement) {
  const auto range = [](const Judgement& part) {
    return part.ratios.empty() ? std::string("none")
                               : std::to_string(part.bluntest()->second) + " to " +
                                     std::to_string(part.worst()->second);
  };
  std::cout << title << ": worst error/bound: loss " << judgement.ratios.at("loss")
            << ", gradients " << range(part_of(judgement, true)) << " by tensor, blocks alone "
            << range(part_of(judgement, false)) << ", updates "
            << largest_ratio(judgement, "param/") << '\n';
}

std::string difference_of(std::size_t step, const std::string& name,
                          std::span<const float> expected, std::span<const float> actual) {
  ParameterSpec spec = scalar_spec(name);
  spec.columns = expected.size();
  const auto found = first_difference(step, spec, Exact(expected), actual);
  return found ? found->text : "";
}

}  // namespace meshparity
