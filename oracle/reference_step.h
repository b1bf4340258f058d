#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// One training step in float32 as the numerics contract says it, one rounding at a time and every
/// sum by the literal transcription in canonical_reference.h: what any trainer must compute, bit
/// for bit.
namespace meshparity {

/// The elementary functions to use: the model's own, or (for a bound) any within a stated error.
struct ElementaryFunctions {
  std::function<float(float)> exp;
  std::function<float(float)> log;
};

struct ReferenceStep {
  float loss = 0;                             ///< mean over the batch
  std::vector<std::vector<float>> gradients;  ///< as `parameters` below
  std::vector<std::vector<float>> updated;
};

/// `parameters` as in the model: embedding.weight, hidden.0.weight, hidden.0.bias, ...,
/// output.weight, output.bias, each row-major. Of the recipe, all but `data`, `steps`, `seed` and
/// `init_scale` is used. Throws std::invalid_argument if sizes do not fit together.
ReferenceStep reference_step(const Recipe& recipe,
                             const std::vector<std::vector<float>>& parameters, const Batch& batch,
                             const ElementaryFunctions& functions);

}  // namespace meshparity
