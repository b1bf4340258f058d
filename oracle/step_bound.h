#pragma once

#include <vector>

#include "model/recipe.h"
#include "oracle/equations.h"
#include "oracle/sum_bound.h"

namespace meshparity::rounding {

/// A training step's results and their bounds.
struct StepBound {
  Rounded loss;
  Rounded embedding;  // gradients, from here on
  std::vector<Rounded> weights;
  std::vector<Rounded> biases;
};

/// Carries errors through a step beside the equations' values, in the order in which a rank
/// computes.
StepBound step_bound(const Recipe& recipe, const equations::Network& network, const Batch& batch,
                     const Rules& rules);

/// Of parameter - lr * gradient, with one rounding (fma).
Matrix sgd_bound(const Matrix& updated, const Rounded& gradient, double lr, const Rules& rules);

}  // namespace meshparity::rounding
