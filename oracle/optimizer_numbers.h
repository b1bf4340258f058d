#pragma once

#include <cstddef>

#include "model/recipe.h"
#include "oracle/recording.h"

/// The numbers of an optimizer's step, transcribed from the contract: binary64 throughout, and what
/// multiplies tensors is rounded to binary32 once.
namespace meshparity {

/// The Euclidean norm of all gradients: the root of their exact sum of squares. NaN if an element
/// is not finite.
double norm_of(const FloatTensors& gradients);

/// Step size of step `step`, from 0.
double scheduled_lr(const Recipe& recipe, std::size_t step);

struct OptimizerNumbers {
  float clip = 1;  ///< every gradient element is multiplied with it first
  float lr = 0;    ///< of sgd: w = fma(-lr, clip * g, w)
  // Of adamw, see reference_update.
  float beta1 = 0, one_minus_beta1 = 0;
  float beta2 = 0, one_minus_beta2 = 0;
  float step_size = 0;     ///< lr / (1 - beta1^t), t = step + 1
  float inverse_root = 0;  ///< 1 / sqrt(1 - beta2^t)
  float epsilon = 0;
  float decay = 0;  ///< lr * weight_decay
};
OptimizerNumbers optimizer_numbers(const Recipe& recipe, std::size_t step,
                                   const FloatTensors& gradients);

}  // namespace meshparity
