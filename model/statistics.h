#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/numerics/exact_sum.h"
#include "model/observer.h"

namespace meshparity {

/// Throws TrainingDiverged if a step's loss, or the norm of its gradient, is not finite.
void require_finite(float loss, std::size_t step);
void require_finite(double norm, std::size_t step);

/// Norm and digest of all parameters, as integers: ranks add their parts in any order.
struct Statistics {
  ExactSum squares;          ///< of the gradient
  std::uint64_t digest = 0;  ///< sum over elements of a hash of (name, global index, bits)

  void add(const ShardView& view);
  void add_squares(const ShardView& view);
  /// As words that ranks may add element by element modulo 2^64, and back.
  static constexpr std::size_t word_count = ExactSum::word_count + 1;
  void to_words(std::span<std::uint64_t> words) const;
  static Statistics from_words(std::span<const std::uint64_t> words);

  double gradient_norm() const;
};

/// The digest alone: of some values; of all that a rank holds, with the optimizer's state under
/// names of its own.
std::uint64_t digest_of(const Shard& shard, std::span<const float> values);
std::uint64_t digest_of(const ShardView& view);
/// What those of `shards` that are counted add to the digest of all.
std::uint64_t digest_of_counted(std::span<const ShardView> shards);

/// What a trainer on one rank does once a step's gradients are complete: checks the loss, adds up
/// norm and digest if `observer` wants them, and calls it. Returns the norm, which is 0 if nobody
/// wants it. Throws TrainingDiverged if loss or norm are not finite.
double observe_step(StepObserver& observer, std::size_t step, float loss,
                    std::span<const ShardView> shards, bool needs_norm = false);

/// What every trainer does after the last update: shows the observer all parameters.
void observe_end(StepObserver& observer, std::size_t steps, std::vector<ShardView> shards,
                 std::span<const ShardView> copies = {});

}  // namespace meshparity
