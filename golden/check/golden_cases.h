#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "golden/check/golden_recipe.h"
#include "parallel/strategy.h"

namespace meshparity {

/// One way to train a golden recipe.
struct GoldenCase {
  std::string transport;             ///< "none" (train_single), "sim" or "mpi"
  std::optional<Strategy> strategy;  ///< none: train_single
  Parallelism how;
  std::size_t steps = 0;  ///< the first ones of the recipe

  /// "train_single", "train_dp", ...
  std::string_view trainer_name() const {
    return strategy ? entry_of(*strategy).name : "train_single";
  }

  bool operator==(const GoldenCase& other) const {
    return transport == other.transport && strategy == other.strategy && steps == other.steps &&
           how.mesh == other.how.mesh && how.microbatches == other.how.microbatches &&
           how.schedule == other.how.schedule;
  }
};

/// The spread of meshes that a recipe is checked on: every strategy and every product, both
/// schedules, uneven and empty shares. Meshes deeper than the recipe's model, and more microbatches
/// than its batch has leaves, are cut down to fit.
/// One rank runs all steps; simulated worlds and mpirun jobs a prefix.
std::vector<GoldenCase> golden_cases(const GoldenRecipe& golden, bool with_sim, bool with_mpi);

}  // namespace meshparity
