#include "model/training.h"

#include <bit>
#include <cmath>
#include <string>

#include "model/error.h"
#include "model/philox.h"

namespace meshparity {
namespace {

/// The finaliser of MurmurHash3: a bijection of 64 bits in which every input bit reaches every
/// other.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDULL;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53ULL;
  return x ^ (x >> 33);
}

}  // namespace

std::uint64_t digest_of(const Shard& shard, std::span<const float> values) {
  const std::uint64_t parameter = coordinate_of(shard.spec.name);
  std::uint64_t digest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    digest += mix(mix(parameter + shard.global_index(i)) ^ std::bit_cast<std::uint32_t>(values[i]));
  }
  return digest;
}

void Statistics::add(const ShardView& view) {
  if (!view.counted) return;
  for (const float g : view.gradient) squares.add_square(g);
  digest += digest_of(*view.shard, view.values);
}

void Statistics::to_words(std::span<std::uint64_t> words) const {
  squares.to_words(words.first<ExactSum::word_count>());
  words[ExactSum::word_count] = digest;
}

Statistics Statistics::from_words(std::span<const std::uint64_t> words) {
  return {ExactSum::from_words(words.first<ExactSum::word_count>()), words[ExactSum::word_count]};
}

void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards) {
  require_finite(loss, step);
  Statistics statistics;
  if (observer.wants_statistics()) {
    for (const ShardView& view : shards) statistics.add(view);
  }
  observer.step({step, loss, std::sqrt(statistics.squares.rounded()), statistics.digest, shards});
}

void require_finite(float loss, std::size_t step) {
  if (std::isfinite(loss)) return;
  throw UsageError("the loss at step " + std::to_string(step) + " is " + std::to_string(loss) +
                       ": training has diverged",
                   "use a smaller --lr or --init-scale");
}

}  // namespace meshparity
