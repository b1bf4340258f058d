#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "model/batch.h"
#include "model/model.h"
#include "model/recipe.h"
#include "oracle/judge.h"
#include "oracle/oracle.h"
#include "oracle/reference_trainer.h"

/// What the tests of the oracle share: random training steps, and a float32 step held to the bound.
namespace meshparity {

/// One training step to compute.
struct StepCase {
  Recipe recipe;
  Model model;
  FloatTensors values{};
  Batch batch{};
  std::size_t step = 0;
  FloatTensors first_moments{};  ///< before it; missing ones are zeros
  FloatTensors second_moments{};

  /// The whole batch, which must stay where it is meanwhile.
  MicroBatch whole_batch() const;
};

/// A step as some program computed it.
struct ComputedStep {
  Recording::Step step;
  TrainedState updated;
};

/// embedding -> `depth` residual blocks, recipe.hidden features each -> linear -> logits. If
/// `shared`, blocks 0 and 1 use the same parameters, 2 and 3 others, ...
Model residual_model(const Recipe& recipe, std::size_t vocabulary, std::size_t depth, bool shared);

/// Linear blocks instead, square ones with a ReLU, of which the first two share their parameters.
Model shared_linear_model(const Recipe& recipe, std::size_t vocabulary);

/// Parameters are uniform on the multiples of 2^-16 in [-scale, scale], tokens uniform; all follow
/// from the recipe's seed.
StepCase drawn_case(const Recipe& recipe, const Model& model, double scale);
/// Of the recipe's MLP.
StepCase drawn_case(const Recipe& recipe, std::size_t vocabulary, double scale);

/// Inside a RapidCheck property: a recipe with hidden width, batch and grains up to `largest`, and
/// a model of any of the kinds above (recipe.layers of the blocks).
Recipe random_recipe(std::size_t largest);
Model random_model(const Recipe& recipe, std::size_t vocabulary);
StepCase random_case(std::size_t largest);
/// The same of an MLP.
StepCase random_mlp_case(std::size_t largest);

/// A large step can make a run diverge, and no bound covers overflow. With parameters below 2^10
/// (2^3 if there are residual blocks) and what `random_recipe(40)` gives, nothing can: the first
/// sums are below 2^25, each of at most four further layers multiplies by less than
/// 40 * 2^10 + 1 < 2^16, a residual block by less than 1 + 16 * 2^3 * 40 * 2^3 < 2^16, on the way
/// back likewise, and a sum over 40 samples adds less than 2^6: all stays below 2^95. (A gradient
/// is a product of rows on the way there and on the way back; each layer is in one of them.)
bool cannot_overflow(const Model& model, const FloatTensors& values);

Tensors widened(const Model& model, const FloatTensors& values);

OracleStep oracle_of(const StepCase& drawn, SumOrder order = SumOrder::canonical);

/// The literal step and its update.
ComputedStep literal_step(const StepCase& drawn, const ElementaryFunctions& functions);

/// The C library's binary64 functions, rounded to the nearest float.
ElementaryFunctions library_functions();

/// The same, rounded up or down as the bits of the argument will have it: as far off as functions
/// may be whose errors are within one ULP.
ElementaryFunctions careless_functions();

/// Empty if a float32 step is within the bounds: end to end, its update, and each block alone if
/// it has its boundaries. Otherwise the first difference. `worst` takes the ratios.
std::string outside(const StepCase& drawn, const ComputedStep& actual, Judgement& worst,
                    std::size_t step = 0, SumOrder order = SumOrder::canonical);

/// The largest and the smallest ratio of those whose names contain `part`.
double largest_ratio(const Judgement& judgement, const std::string& part);
double smallest_ratio(const Judgement& judgement, const std::string& part);

void print(const std::string& title, const Judgement& judgement);

/// Empty, or where two numbers or tensors that should have the same bits differ.
std::string difference_of(std::size_t step, const std::string& name,
                          std::span<const float> expected, std::span<const float> actual);

}  // namespace meshparity
