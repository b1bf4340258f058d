#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/corpus.h"
#include "model/recipe.h"

namespace meshparity {

/// How close one rank came to the oracle over a whole run.
struct OracleVerdict {
  std::size_t steps = 0;
  double worst_ratio =
      0;  ///< of losses and gradients: error / derived bound; above 1 they are wrong
  std::string worst_tensor;
  std::size_t worst_step = 0;
  double worst_update_ratio = 0;  ///< of updated parameters; mostly one rounding, so close to 1
  std::optional<std::string> first_difference;  ///< the first value outside its bound
};

/// Trains the recipe on one rank and holds every step to the oracle's step from the same
/// parameters: loss, every gradient, every updated parameter.
OracleVerdict hold_to_oracle(const Recipe& recipe, const Corpus& corpus);

}  // namespace meshparity
