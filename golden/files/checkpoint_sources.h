#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "golden/files/checkpoint.h"
#include "model/observer.h"
#include "model/training.h"

/// What a run that goes on takes from a checkpoint.
namespace meshparity {

/// One part of a checkpoint's state, for trainers.
class CheckpointPart final : public ParameterSource {
 public:
  CheckpointPart(const Checkpoint& checkpoint, StatePart part)
      : checkpoint_(checkpoint), part_(part) {}
  void fill(const Shard& shard, std::span<float> values) const override;

  /// Of what `fill` gave for exactly this shard, or else of the values in `view`.
  std::uint64_t digest(const ShardView& view) const;

 private:
  const Checkpoint& checkpoint_;
  StatePart part_;
  mutable std::map<std::vector<std::size_t>, std::uint64_t> filled_;  // by parameter and place
};

/// All that a run goes on from. The checkpoint must outlive it.
class CheckpointSources {
 public:
  explicit CheckpointSources(const Checkpoint& checkpoint);
  const ParameterSource& parameters() const { return parameters_; }
  /// Points into this object.
  TrainingStart start() const;
  /// Of the counted shards of a rank that was filled from here.
  std::uint64_t digest(std::span<const ShardView> shards) const;
  const Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  const Checkpoint& checkpoint_;
  CheckpointPart parameters_;
  CheckpointPart first_moments_;
  CheckpointPart second_moments_;
};

}  // namespace meshparity
