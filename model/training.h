#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/corpus.h"
#include "model/numerics/exact_sum.h"
#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity {

/// A rank's part of one parameter, as an observer sees it.
struct ShardView {
  const Shard* shard = nullptr;
  bool counted = true;  ///< false on all but one of the ranks that hold copies of this shard
  std::span<const float> values;  ///< before the update
  /// Of the mean loss over the global batch. Empty after the end, and where only others have it.
  std::span<const float> gradient;
};

/// One training step as one rank sees it: after the gradients are complete, before the update.
struct StepView {
  std::size_t step = 0;
  float loss = 0;            ///< mean over the global batch, the same on every rank
  double gradient_norm = 0;  ///< Euclidean, over all parameters (only with statistics)
  std::uint64_t digest = 0;  ///< of all parameters before the update (only with statistics)
  std::span<const ShardView> shards;
};

/// Watches a training run. Every rank of a world calls its observer at the same points, so an
/// observer may communicate.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  /// Norm and digest cost a pass over the parameters; without statistics they are 0.
  virtual bool wants_statistics() const { return false; }
  virtual void step(const StepView& /*view*/) {}
  /// After the last update; the shards carry no gradients.
  virtual void finished(std::span<const ShardView> /*shards*/) {}
};

/// What every trainer is given.
struct TrainingRun {
  const Recipe& recipe;
  const Corpus& corpus;
  const ParameterSource& initial;
  StepObserver& observer;
};

/// Norm and digest of all parameters, as integers: ranks add their parts in any order.
struct Statistics {
  ExactSum squares;          ///< of the gradient
  std::uint64_t digest = 0;  ///< sum over elements of a hash of (name, global index, bits)

  void add(const ShardView& view);
  /// As words that ranks may add element by element modulo 2^64, and back.
  static constexpr std::size_t word_count = ExactSum::word_count + 1;
  void to_words(std::span<std::uint64_t> words) const;
  static Statistics from_words(std::span<const std::uint64_t> words);
};

/// The digest alone, for parameters that are not being trained.
std::uint64_t digest_of(const Shard& shard, std::span<const float> values);

/// What every trainer does once a step's gradients are complete: checks the loss and calls the
/// observer.
void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards);

/// Throws UsageError if the loss is not finite: from there on nothing means anything.
void require_finite(float loss, std::size_t step);

}  // namespace meshparity
