#include "parallel/sharded_blocks.h"

#include <algorithm>

namespace meshparity {
namespace {

// Of this group's reducers the losses' has channel 0, the gradients' channel 1. Each takes two
// tags.
constexpr std::size_t kChannel = 1;
constexpr int kGatherTag = 4;

using RankRanges = std::vector<std::vector<Range>>;  // [microbatch][rank]

std::vector<Shard> own_shares(const Blocks& blocks, const Comm& group) {
  std::vector<Shard> shares;
  for (const HeldParameter& held : blocks.parameters()) {
    shares.push_back(share_of(held.shard, group.size(), group.rank()));
  }
  return shares;
}

/// Floats for what a rank owns of each parameter: as much on every rank, so that all lay their
/// shares out alike. The first rank owns most.
std::vector<std::size_t> owned_rooms(const Blocks& blocks, const Comm& group) {
  std::vector<std::size_t> rooms;
  for (const HeldParameter& held : blocks.parameters()) {
    rooms.push_back(whole_cache_lines(share_of(held.shard.size(), group.size(), 0).size()));
  }
  return rooms;
}

std::vector<Range> ranges_of(const RankRanges& microbatches, std::size_t rank) {
  std::vector<Range> ranges;
  for (const auto& of_ranks : microbatches) ranges.push_back(of_ranks[rank]);
  return ranges;
}

Range union_of(std::span<const Range> ranges) { return {ranges.front().begin, ranges.back().end}; }

std::vector<Range> unions_of(const RankRanges& microbatches) {
  std::vector<Range> unions;
  for (const auto& of_ranks : microbatches) unions.push_back(union_of(of_ranks));
  return unions;
}

/// For a sum over one of these ranges at a time, by node.
SumRoom room_for(std::span<const Range> ranges, std::size_t leaves, std::size_t width) {
  SumRoom room(1, width);
  for (const Range range : ranges) {
    room = room | SumRoom(most_nodes({&range, 1}, leaves, Pushed::by_node), width);
  }
  return room;
}

}  // namespace

ShardedBlocks::ShardedBlocks(const Blocks& blocks, const ParameterSource& source,
                             const BatchSource& batches, const RankRanges& microbatches,
                             Comm& group, Reduction reduction)
    : blocks_(blocks),
      group_(group),
      leaves_(batches.all_leaves().end),
      owned_(blocks, own_shares(blocks, group), source, owned_rooms(blocks, group)),
      owned_gradients_(blocks, owned_.shards(), batches, unions_of(microbatches)),
      layouts_(lay_out()),
      most_owned_(std::ranges::max(layouts_, {}, &Layout::owned_size).owned_size),
      packed_(leaves_, room_for(ranges_of(microbatches, group.rank()), leaves_,
                                is_shared_out() ? group.size() * most_owned_ : 0)),
      mine_(leaves_, room_for(unions_of(microbatches), leaves_, is_shared_out() ? most_owned_ : 0)),
      reducer_(group, reduction, leaves_, kChannel) {
  if (!is_shared_out()) return;
  make_gathered();
  make_whole_gradients(batches.row_leaves(), ranges_of(microbatches, group.rank()));
  for (const auto& ranges : microbatches) reducer_.reserve(ranges, group.size() * most_owned_);
}

std::vector<ShardedBlocks::Layout> ShardedBlocks::lay_out() const {
  std::vector<Layout> layouts;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    Layout& layout = layouts.emplace_back();
    for (std::size_t place = 0; place < blocks_.uses_in(b); ++place) {
      const std::size_t p = blocks_.parameter({b, place});
      if (layout.runs.empty() || layout.runs.back().parameters.end != p) {
        layout.runs.push_back({{p, p}, {}});
      }
      layout.runs.back().parameters.end = p + 1;
      layout.runs.back().places.push_back(place);
      layout.offsets.push_back(layout.owned_size);
      layout.owned_size += owned_.side_by_side({p, p + 1}).size();
    }
  }
  return layouts;
}

std::size_t ShardedBlocks::size_of(std::size_t block, std::size_t place) const {
  return blocks_.parameters()[blocks_.parameter({block, place})].shard.size();
}

void ShardedBlocks::make_gathered() {
  std::size_t largest = 0;
  std::size_t most_runs = 0;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < blocks_.uses_in(b); ++i) size += whole_cache_lines(size_of(b, i));
    largest = std::max(largest, size);
    most_runs = std::max(most_runs, layouts_[b].runs.size());
  }
  gathered_.resize(largest);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    std::span<float> rest = gathered_;
    for (std::size_t i = 0; i < blocks_.uses_in(b); ++i) {
      layouts_[b].gathered.push_back(rest.first(size_of(b, i)));
      layouts_[b].values.emplace_back(layouts_[b].gathered.back());
      rest = rest.subspan(whole_cache_lines(size_of(b, i)));
    }
  }
  const std::size_t others = group_.size() - 1;
  arriving_.resize(others * most_owned_);
  lent_.reserve(others * most_runs);
  borrowed_.reserve(others * most_runs);
}

void ShardedBlocks::make_whole_gradients(const RowLeaves& row_leaves,
                                         std::span<const Range> my_ranges) {
  std::vector<SumRoom> rooms;  // [place], for any block
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    rooms.resize(std::max(rooms.size(), blocks_.uses_in(b)));
    for (std::size_t i = 0; i < blocks_.uses_in(b); ++i) {
      const Pushed how = how_pushed(blocks_[b], i, row_leaves);
      for (const Range range : my_ranges) {
        rooms[i] = rooms[i] | SumRoom(most_nodes({&range, 1}, leaves_, how), size_of(b, i));
      }
    }
  }
  for (const SumRoom& room : rooms) whole_gradients_.emplace_back(leaves_, room);
}

template <typename Visit>
void ShardedBlocks::for_each_other(Visit visit) const {
  for (std::size_t i = 1; i < group_.size(); ++i) visit((group_.rank() + i) % group_.size());
}

void ShardedBlocks::begin_gather(std::size_t block, CallSite site) {
  std::span<float> rest = arriving_;
  for_each_other([&](std::size_t other) {
    for (const Run& run : layouts_[block].runs) {
      const std::span<const float> mine = owned_.side_by_side(run.parameters);
      borrowed_.push_back(group_.borrow(rest.first(mine.size()), other, kGatherTag, site));
      lent_.push_back(group_.lend(mine, other, kGatherTag, site));
      rest = rest.subspan(mine.size());
    }
  });
}

ParameterValues ShardedBlocks::finish_gather(std::size_t block, std::size_t next, CallSite site) {
  if (!is_shared_out()) return owned_(block);
  const Layout& layout = layouts_[block];
  for (const Run& run : layout.runs) {
    unpack(block, run, group_.rank(), owned_.side_by_side(run.parameters));
  }
  auto arrival = borrowed_.begin();
  for_each_other([&](std::size_t other) {
    for (const Run& run : layout.runs) {
      unpack(block, run, other, group_.read(*arrival, site));
      group_.wait(*arrival++, site);  // given back
    }
  });
  for (Request& loan : lent_) group_.wait(loan, site);
  borrowed_.clear();
  lent_.clear();
  if (next < blocks_.size()) begin_gather(next, site);
  return layout.values;
}

void ShardedBlocks::unpack(std::size_t block, const Run& run, std::size_t rank,
                           std::span<const float> owned) {
  const Layout& layout = layouts_[block];
  for (const std::size_t place : run.places) {
    const std::span<float> whole = layout.gathered[place];
    const Range share = share_of(whole.size(), group_.size(), rank);
    const std::size_t offset = layout.offsets[place] - layout.offsets[run.places.front()];
    std::ranges::copy(owned.subspan(offset, share.size()),
                      whole.subspan(share.begin, share.size()).begin());
  }
}

std::span<PartialSum> ShardedBlocks::start_gradients(std::size_t block,
                                                     std::span<const Range> ranges) {
  if (!is_shared_out()) return owned_gradients_(block);  // which go on from earlier microbatches
  for (std::size_t i = 0; i < blocks_.uses_in(block); ++i) {
    whole_gradients_[i].start(ranges[group_.rank()], size_of(block, i));
  }
  return std::span(whole_gradients_).first(blocks_.uses_in(block));
}

void ShardedBlocks::begin_reduce_scatter(std::size_t block, std::span<const Range> ranges,
                                         CallSite site) {
  if (!is_shared_out()) return;
  const Layout& layout = layouts_[block];
  packed_.start(ranges[group_.rank()], group_.size() * layout.owned_size);
  mine_.start(union_of(ranges), layout.owned_size);
  const std::span<const Range> nodes = whole_gradients_.front().nodes();
  for (std::size_t node = 0; node < nodes.size(); ++node) {
    const std::span<float> packed = packed_.next();
    for (std::size_t place = 0; place < blocks_.uses_in(block); ++place) {
      const std::span<const float> whole = whole_gradients_[place].values(node);
      for (std::size_t rank = 0; rank < group_.size(); ++rank) {
        const Range share = share_of(whole.size(), group_.size(), rank);
        const std::size_t to = rank * layout.owned_size + layout.offsets[place];
        std::ranges::copy(whole.subspan(share.begin, share.size()), packed.subspan(to).begin());
      }
    }
    packed_.push(nodes[node].size());
  }
  reducer_.begin_reduce_scatter(packed_, ranges, site);
}

void ShardedBlocks::finish_reduce_scatter(std::size_t block, CallSite site) {
  if (!is_shared_out()) return;
  reducer_.finish_reduce_scatter(mine_, site);
  const std::span<PartialSum> owned = owned_gradients_(block);
  for (std::size_t node = 0; node < mine_.nodes().size(); ++node) {
    for (std::size_t place = 0; place < owned.size(); ++place) {
      owned[place].push(
          mine_.nodes()[node],
          mine_.values(node).subspan(layouts_[block].offsets[place], owned[place].width()));
    }
  }
}

}  // namespace meshparity
