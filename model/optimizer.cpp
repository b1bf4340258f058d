#include "model/optimizer.h"

#include <utility>

#include "model/numerics/kernels.h"

namespace meshparity {

Optimizer::Optimizer(const Recipe& recipe, std::vector<std::span<float>> owned)
    : lr_(static_cast<float>(recipe.lr)), owned_(std::move(owned)) {}

void Optimizer::update(std::size_t parameter, std::span<const float> gradient) {
  sgd_update(gradient, lr_, owned_[parameter]);
}

void Optimizer::update(std::span<const ShardView> shards) {
  for (std::size_t p = 0; p < owned_.size(); ++p) update(p, shards[p].gradient);
}

std::vector<std::span<float>> all_values(Parameters& parameters) {
  std::vector<std::span<float>> values;
  for (std::size_t p = 0; p < parameters.size(); ++p) values.push_back(parameters.values(p));
  return values;
}

}  // namespace meshparity
