#include "model/statistics.h"

#include <algorithm>
#include <cmath>

#include "model/numerics/kernels.h"
#include "model/numerics/philox.h"

namespace meshparity {

void require_finite(float loss, std::size_t step) {
  if (!std::isfinite(loss)) throw TrainingDiverged(step, loss);
}

std::uint64_t digest_of(const Shard& shard, std::span<const float> values) {
  const std::uint64_t parameter = coordinate_of(shard.spec.name);
  std::uint64_t sum = 0;
  // A row of the shard's block lies side by side in the whole parameter.
  const std::size_t width = shard.columns.size();
  for (std::size_t i = 0; i < values.size();) {
    const std::size_t to_row_end = width - (shard.flat.begin + i) % width;
    const std::size_t size = std::min(to_row_end, values.size() - i);
    sum += digest(values.subspan(i, size), parameter + shard.global_index(i));
    i += size;
  }
  return sum;
}

void Statistics::add(const ShardView& view) {
  if (!view.counted) return;
  squares.add_squares(view.gradient);
  digest += digest_of(*view.shard, view.values);
}

void Statistics::to_words(std::span<std::uint64_t> words) const {
  squares.to_words(words.first<ExactSum::word_count>());
  words[ExactSum::word_count] = digest;
}

Statistics Statistics::from_words(std::span<const std::uint64_t> words) {
  return {ExactSum::from_words(words.first<ExactSum::word_count>()), words[ExactSum::word_count]};
}

double Statistics::gradient_norm() const { return std::sqrt(squares.rounded()); }

void observe_step(StepObserver& observer, std::size_t step, float loss,
                  std::span<const ShardView> shards) {
  require_finite(loss, step);
  Statistics statistics;
  if (observer.wants_statistics()) {
    for (const ShardView& view : shards) statistics.add(view);
  }
  observer.step({step, loss, statistics.gradient_norm(), statistics.digest, shards, {}});
}

void observe_end(StepObserver& observer, std::size_t steps, std::vector<ShardView> shards,
                 std::span<const ShardView> copies) {
  for (ShardView& shard : shards) shard.gradient = {};
  observer.finished({.step = steps, .shards = shards, .copies = copies});
}

}  // namespace meshparity
