#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/observer.h"
#include "model/parameters.h"
#include "model/recipe.h"

namespace meshparity {

/// Stochastic gradient descent on the elements that a rank owns: w = fma(-lr, gradient, w). It is
/// element by element, so that elements may be shared out in any way.
class Optimizer {
 public:
  /// `owned[p]` are the elements of parameter p that this rank updates.
  Optimizer(const Recipe& recipe, std::vector<std::span<float>> owned);

  /// Updates the owned elements of one parameter.
  void update(std::size_t parameter, std::span<const float> gradient);
  /// Updates all; `shards` hold their gradients.
  void update(std::span<const ShardView> shards);

 private:
  float lr_;
  std::vector<std::span<float>> owned_;
};

/// All that a rank holds, for a rank that updates all of it.
std::vector<std::span<float>> all_values(Parameters& parameters);

}  // namespace meshparity
