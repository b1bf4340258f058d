#include "model/statistics.h"

#include <algorithm>
#include <cmath>

#include "model/numerics/kernels.h"
#include "model/numerics/philox.h"

namespace meshparity {

void require_finite(float loss, std::size_t step) {
  if (!std::isfinite(loss)) throw TrainingDiverged(step, "loss", loss);
}

void require_finite(double norm, std::size_t step) {
  if (!std::isfinite(norm)) throw TrainingDiverged(step, "norm of the gradient", norm);
}

namespace {

std::uint64_t digest_of(const Shard& shard, std::uint64_t parameter,
                        std::span<const float> values) {
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

}  // namespace

std::uint64_t digest_of(const Shard& shard, std::span<const float> values) {
  return digest_of(shard, coordinate_of(shard.spec.name), values);
}

std::uint64_t digest_of(const ShardView& view) {
  const std::uint64_t name = coordinate_of(view.shard->spec.name);
  return digest_of(*view.shard, name, view.values) +
         digest_of(*view.shard, coordinate_of(".exp_avg", name), view.first_moment) +
         digest_of(*view.shard, coordinate_of(".exp_avg_sq", name), view.second_moment);
}

std::uint64_t digest_of_counted(std::span<const ShardView> shards) {
  std::uint64_t digest = 0;
  for (const ShardView& view : shards) {
    if (view.counted) digest += digest_of(view);
  }
  return digest;
}

void Statistics::add(const ShardView& view) {
  if (!view.counted) return;
  add_squares(view);
  digest += digest_of(view);
}

void Statistics::add_squares(const ShardView& view) {
  if (view.counted) squares.add_squares(view.gradient);
}

void Statistics::to_words(std::span<std::uint64_t> words) const {
  squares.to_words(words.first<ExactSum::word_count>());
  words[ExactSum::word_count] = digest;
}

Statistics Statistics::from_words(std::span<const std::uint64_t> words) {
  return {ExactSum::from_words(words.first<ExactSum::word_count>()), words[ExactSum::word_count]};
}

double Statistics::gradient_norm() const { return std::sqrt(squares.rounded()); }

double observe_step(StepObserver& observer, std::size_t step, float loss,
                    std::span<const ShardView> shards, bool needs_norm) {
  require_finite(loss, step);
  Statistics statistics;
  for (const ShardView& view : shards) {
    if (observer.wants_statistics()) {
      statistics.add(view);
    } else if (needs_norm) {
      statistics.add_squares(view);
    }
  }
  const double norm = statistics.gradient_norm();
  require_finite(norm, step);
  observer.step({step, loss, norm, statistics.digest, shards, {}});
  return norm;
}

void observe_end(StepObserver& observer, std::size_t steps, std::vector<ShardView> shards,
                 std::span<const ShardView> copies) {
  for (ShardView& shard : shards) shard.gradient = {};
  observer.finished({.step = steps, .shards = shards, .copies = copies});
}

}  // namespace meshparity
