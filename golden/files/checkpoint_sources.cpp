#include "golden/files/checkpoint_sources.h"

#include "model/numerics/philox.h"

namespace meshparity {
namespace {

std::vector<std::size_t> place_of(const Shard& shard) {
  return {coordinate_of(shard.spec.name),
          shard.rows.begin,
          shard.rows.end,
          shard.columns.begin,
          shard.columns.end,
          shard.flat.begin,
          shard.flat.end};
}

}  // namespace

void CheckpointPart::fill(const Shard& shard, std::span<float> values) const {
  filled_[place_of(shard)] = checkpoint_.read_with_digest(part_, shard, values);
}

std::uint64_t CheckpointPart::digest(const ShardView& view) const {
  const auto found = filled_.find(place_of(*view.shard));
  if (found != filled_.end()) return found->second;
  return digest_of(part_, *view.shard, part_of(view, part_));
}

CheckpointSources::CheckpointSources(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint),
      parameters_(checkpoint, StatePart::parameters),
      first_moments_(checkpoint, StatePart::first_moments),
      second_moments_(checkpoint, StatePart::second_moments) {}

TrainingStart CheckpointSources::start() const {
  TrainingStart start{.step = checkpoint_.header().step};
  if (checkpoint_.header().recipe.optimizer == OptimizerKind::sgd) return start;
  start.first_moments = &first_moments_;
  start.second_moments = &second_moments_;
  return start;
}

std::uint64_t CheckpointSources::digest(std::span<const ShardView> shards) const {
  std::uint64_t sum = 0;
  for (const ShardView& view : shards) {
    if (!view.counted) continue;
    sum += parameters_.digest(view) + first_moments_.digest(view) + second_moments_.digest(view);
  }
  return sum;
}

}  // namespace meshparity
