#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"
#include "oracle/oracle.h"
#include "oracle/reference_step.h"

/// What the tests of the oracle share: random training steps, and a float32 step held to the bound.
namespace meshparity {

using FloatTensors = std::vector<std::vector<float>>;

/// One training step to compute.
struct StepCase {
  Recipe recipe;
  std::size_t vocabulary = 2;
  FloatTensors parameters;
  Batch batch;

  std::vector<ParameterSpec> specs() const;
};

/// Parameters are uniform on the multiples of 2^-16 in [-scale, scale], tokens uniform; all follow
/// from the recipe's seed.
StepCase drawn_case(const Recipe& recipe, std::size_t vocabulary, double scale);

/// Inside a RapidCheck property: a recipe with hidden width, batch and grains up to `largest`.
Recipe random_recipe(std::size_t largest);
StepCase random_case(std::size_t largest);

/// A large step can make a run diverge, and no bound covers overflow. With every parameter below
/// 2^10 and what `random_recipe(40)` gives, nothing can: the first sums are below 2^25, each of at
/// most four further layers multiplies by less than 40 * 2^10 + 1 < 2^16, on the way back likewise,
/// and a sum over 40 samples adds less than 2^6: all stays below 2^95.
bool cannot_overflow(const FloatTensors& parameters);

Tensors widened(const std::vector<ParameterSpec>& specs, const FloatTensors& values);

OracleStep oracle_of(const StepCase& drawn, SumOrder order = SumOrder::canonical);

/// The C library's binary64 functions, rounded to the nearest float.
ElementaryFunctions library_functions();

/// The same, rounded up or down as the bits of the argument will have it: as far off as functions
/// may be whose errors are within one ULP.
ElementaryFunctions careless_functions();

/// How much of the bounds is used: the worst error/bound of each kind of tensor, over several
/// steps.
struct Ratios {
  double loss = 0;
  std::map<std::string, double> gradients;  ///< by tensor
  double updated = 0;

  /// Of the gradient tensor that comes closest to its bound, and of the one that stays furthest
  /// away.
  double largest_gradient() const;
  double smallest_gradient() const;

  void print(const std::string& title) const;
};

/// Empty if a float32 step is within the bound, otherwise the first difference.
std::string outside(const OracleStep& oracle, const ReferenceStep& actual, Ratios& ratios,
                    std::size_t step = 0);

}  // namespace meshparity
