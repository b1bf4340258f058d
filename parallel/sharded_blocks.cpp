#include "parallel/sharded_blocks.h"

#include <algorithm>

namespace meshparity {
namespace {

std::vector<Shard> own_shares(const Blocks& blocks, const Comm& group) {
  std::vector<Shard> shares;
  for (const HeldParameter& held : blocks.parameters()) {
    shares.push_back(share_of(held.shard, group.size(), group.rank()));
  }
  return shares;
}

}  // namespace

ShardedBlocks::ShardedBlocks(const Blocks& blocks, const ParameterSource& source,
                             std::size_t leaves,
                             const std::vector<std::vector<Range>>& ranges_of_reductions,
                             Range owned_range, Comm& group, Reduction reduction)
    : blocks_(blocks),
      group_(group),
      owned_(blocks, own_shares(blocks, group), source),
      owned_gradients_(blocks, owned_.shards(), leaves, {&owned_range, 1}),
      reducer_(group, reduction, leaves) {
  std::vector<Range> my_ranges;
  for (const auto& ranges : ranges_of_reductions) my_ranges.push_back(ranges[group.rank()]);
  for (const HeldParameter& held : blocks.parameters()) {
    auto& of_ranks = counts_.emplace_back();
    for (const Range share : shares_of({0, held.shard.size()}, group.size())) {
      of_ranks.push_back(share.size());
    }
    for (const auto& ranges : ranges_of_reductions) reducer_.reserve(ranges, held.shard.size());
  }

  std::size_t largest_block = 0;
  std::vector<std::size_t> largest_parameter;  // at each place in a block
  std::vector<std::vector<std::size_t>> sizes;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    auto& of_block = sizes.emplace_back();
    largest_parameter.resize(std::max(largest_parameter.size(), blocks.uses_in(b)));
    std::size_t block_size = 0;
    for (std::size_t i = 0; i < blocks.uses_in(b); ++i) {
      of_block.push_back(blocks.parameters()[blocks.parameter({b, i})].shard.size());
      largest_parameter[i] = std::max(largest_parameter[i], of_block.back());
      block_size += of_block.back();
    }
    largest_block = std::max(largest_block, block_size);
  }
  for (const std::size_t size : largest_parameter) {
    whole_gradients_.emplace_back(leaves, my_ranges, size);
  }
  gathered_.resize(largest_block);
  for (const auto& of_block : sizes) {
    auto& views = gathered_views_.emplace_back();
    std::span<const float> rest = gathered_;
    for (const std::size_t size : of_block) {
      views.push_back(rest.first(size));
      rest = rest.subspan(size);
    }
  }
}

ParameterValues ShardedBlocks::gather(std::size_t block, CallSite site) {
  if (group_.size() == 1) return owned_(block);  // all of it, and nothing to copy
  std::span<float> rest = gathered_;
  for (std::size_t i = 0; i < blocks_.uses_in(block); ++i) {
    const std::size_t p = blocks_.parameter({block, i});
    const std::size_t size = gathered_views_[block][i].size();
    group_.all_gather(owned_.values(p), rest.first(size), counts_[p], site);
    rest = rest.subspan(size);
  }
  return gathered_views_[block];
}

std::span<PartialSum> ShardedBlocks::start_gradients(std::size_t block, Range range) {
  for (std::size_t i = 0; i < blocks_.uses_in(block); ++i) {
    whole_gradients_[i].start(range, gathered_views_[block][i].size());
  }
  return std::span(whole_gradients_).first(blocks_.uses_in(block));
}

void ShardedBlocks::reduce_scatter(std::size_t block, std::span<const Range> ranges,
                                   CallSite site) {
  const std::span<PartialSum> owned = owned_gradients_(block);
  for (std::size_t i = 0; i < owned.size(); ++i) {
    reducer_.reduce_scatter(whole_gradients_[i], ranges, owned[i], site);
  }
}

}  // namespace meshparity
