#include "parallel/replicas.h"

#include <utility>

namespace meshparity {

Replicas::Replicas(const Blocks& blocks, Parameters& parameters, GradientSums& gradients,
                   std::vector<Range> rank_leaves, Comm& group, Reduction reduction)
    : parameters_(parameters),
      gradients_(gradients),
      rank_leaves_(std::move(rank_leaves)),
      group_(group) {
  std::size_t channel = 1;  // 0 is for others: the losses
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    auto& of_block = reducers_.emplace_back();
    for (const PartialSum& sum : gradients(b)) {
      of_block.emplace_back(group, reduction, sum.leaves(), channel++)
          .reserve(rank_leaves_, sum.width());
    }
  }
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Shard& held = parameters.shards()[p];
    owned_.push_back(share_of(held, group.size(), group.rank()));
    parts_.push_back(share_of(held.size(), group.size(), group.rank()));
    first_uses_.push_back(blocks.uses_of(p).front());
  }
}

std::vector<std::span<float>> Replicas::owned_values() {
  std::vector<std::span<float>> values;
  for (std::size_t p = 0; p < owned_.size(); ++p) {
    values.push_back(parameters_.values(p).subspan(parts_[p].begin, parts_[p].size()));
  }
  return values;
}

std::vector<ShardView> Replicas::owned_views() {
  std::vector<ShardView> views;
  const std::vector<std::span<float>> values = owned_values();
  for (std::size_t p = 0; p < owned_.size(); ++p) {
    views.push_back({&owned_[p], true, values[p], {}});
  }
  return views;
}

std::vector<ShardView> Replicas::copies() const {
  if (group_.size() == 1) return {};
  std::vector<ShardView> views = parameters_.views();
  for (ShardView& view : views) view.counted = false;
  return views;
}

void Replicas::begin_reduce_scatter(std::size_t block, CallSite site) {
  const std::span<PartialSum> sums = gradients_(block);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    reducers_[block][i].begin_reduce_scatter(sums[i], rank_leaves_, site);
  }
}

void Replicas::finish_reduce_scatter(CallSite site) {
  for (std::size_t block = reducers_.size(); block-- > 0;) {
    const std::span<PartialSum> sums = gradients_(block);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      reducers_[block][i].finish_reduce_scatter(sums[i], site);
    }
  }
}

void Replicas::begin_all_gather(std::size_t parameter, CallSite site) {
  reducer_of(first_uses_[parameter]).begin_all_gather(parameters_.values(parameter), site);
}

void Replicas::finish_all_gather(CallSite site) {
  for (const Use& use : first_uses_) reducer_of(use).finish_all_gather(site);
}

}  // namespace meshparity
