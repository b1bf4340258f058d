#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "model/numerics/canonical_sum.h"
#include "model/recipe.h"

namespace meshparity {

/// All leaves of the batch.
inline Range batch_leaves(const Recipe& recipe) {
  return {0, leaf_count(recipe.batch, recipe.batch_grain)};
}

/// The samples of a run of leaves of the batch.
inline Range samples_of(const Recipe& recipe, Range leaves) {
  return terms_of(leaves, recipe.batch_grain, recipe.batch);
}

/// The most samples that any of these runs of leaves holds: what buffers must have room for.
inline std::size_t most_samples(const Recipe& recipe, std::span<const Range> runs) {
  std::size_t most = 0;
  for (const Range run : runs) most = std::max(most, samples_of(recipe, run).size());
  return most;
}

}  // namespace meshparity
