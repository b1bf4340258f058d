#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/corpus.h"
#include "model/model.h"
#include "model/recipe.h"

namespace meshparity {

/// How close one rank came to the oracle over a whole run. Ratios are error / derived bound: above
/// 1 something is wrong; the names are those of oracle/judge.h.
struct OracleVerdict {
  std::size_t steps = 0;
  std::size_t whole_steps = 0;  ///< of those, judged end to end too
  std::size_t updates = 0;      ///< of steps, judged once they are known
  double worst_ratio = 0;       ///< of losses and gradients, end to end
  std::string worst_tensor;
  std::size_t worst_step = 0;
  double worst_local_ratio = 0;  ///< of blocks alone
  std::string worst_local_what;
  /// Of the worst ratios of everything judged, the smallest: a bound that is never approached shows
  /// nothing.
  double bluntest_ratio = 0;
  std::string bluntest_what;
  double worst_update_ratio = 0;  ///< of updated parameters; one rounding, so close to 1
  std::optional<std::string> first_difference;  ///< the first value outside its bound
};

/// Trains the recipe on one rank and holds every step to the oracle: every block from its own
/// boundaries, every updated parameter and moment from its own gradient; and loss and gradients end
/// to end (of a transformer every 20th step, if sequence * channels is at most 256).
OracleVerdict hold_to_oracle(const Recipe& recipe, const Model& model, const Corpus& corpus);

}  // namespace meshparity
