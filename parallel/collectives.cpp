#include "parallel/collectives.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/kernels.h"

namespace meshparity {
namespace {

constexpr std::size_t kBlock = 2048;  // elements that are added up together

std::size_t node_count(Run run, std::size_t leaves) {
  std::size_t count = 0;
  for (; !run.empty(); run.begin = first_node_of(run, leaves).end) ++count;
  return count;
}

Run union_of(std::span<const Run> runs) { return {runs.front().begin, runs.back().end}; }

/// Calls `visit` with each node of a run, left to right.
template <typename Visit>
void for_each_node(Run run, std::size_t leaves, Visit visit) {
  while (!run.empty()) {
    const Run node = first_node_of(run, leaves);
    visit(node);
    run.begin = node.end;
  }
}

/// sum = the nodes of `mine` added up, for the transport to go on with.
void collapse(const PartialSum& mine, std::span<float> sum) {
  if (mine.nodes().empty()) std::fill(sum.begin(), sum.end(), 0.0F);
  for (std::size_t node = 0; node < mine.nodes().size(); ++node) {
    if (node == 0) {
      std::ranges::copy(mine.values(node), sum.begin());
    } else {
      add_rows(mine.values(node), 1, sum);
    }
  }
}

/// A sum that did not come in nodes has been written to `target.next()`: it stands in the first
/// node of the run, and the others are 0.
void push_as_nodes(Run run, std::size_t leaves, PartialSum& target) {
  for_each_node(run, leaves, [&, first = true](Run node) mutable {
    if (!first) target.next_zeroed();
    first = false;
    target.push(node.size());
  });
}

constexpr int kNodeTag = 0;  // messages of one pair of ranks arrive in the order they were sent

}  // namespace

Reducer::Reducer(Comm& group, Reduction reduction, std::size_t leaves)
    : group_(group),
      reduction_(reduction),
      leaves_(leaves),
      block_(leaves, Run{}, 0),
      counts_(group.size()) {}

void Reducer::reserve(std::span<const Run> runs, std::size_t width) {
  const Run whole = union_of(runs);
  if (std::find(unions_.begin(), unions_.end(), whole) == unions_.end()) unions_.push_back(whole);
  block_ = PartialSum(leaves_, unions_, kBlock);

  std::size_t nodes = 0;
  for (const Run run : runs) nodes += node_count(run, leaves_);
  const std::size_t mine = node_count(runs[group_.rank()], leaves_);
  const std::size_t share = share_of(width, group_.size(), group_.rank()).size();
  const auto grow = [](auto& buffer, std::size_t size) {
    buffer.reserve(std::max(buffer.capacity(), size));
  };
  grow(sources_, nodes);
  grow(requests_, (nodes - mine) + (group_.size() - 1) * mine);
  incoming_.resize(std::max(incoming_.size(), (nodes - mine) * share));
  if (reduction_ == Reduction::native) {
    collapsed_.resize(std::max(collapsed_.size(), width));
  }
}

Run Reducer::my_share() const { return share_of(mine_->width(), group_.size(), group_.rank()); }

void Reducer::begin(const PartialSum& mine, std::span<const Run> runs, CallSite site) {
  mine_ = &mine;
  runs_ = runs;
  if (reduction_ == Reduction::native) return;
  const std::size_t ranks = group_.size();
  const Run share = my_share();
  sources_.clear();
  std::size_t arrived = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    std::size_t index = 0;
    for_each_node(runs[r], leaves_, [&](Run node) {
      if (r == group_.rank()) {
        sources_.push_back({node, mine.values(index++).subspan(share.begin, share.size())});
        return;
      }
      const std::span<float> place = std::span(incoming_).subspan(arrived, share.size());
      arrived += share.size();
      sources_.push_back({node, place});
      if (!place.empty()) requests_.push_back(group_.irecv(place, r, kNodeTag, site));
    });
  }
  // Everyone begins with another receiver.
  for (std::size_t i = 1; i < ranks; ++i) {
    const std::size_t to = (group_.rank() + i) % ranks;
    const Run part = share_of(mine.width(), ranks, to);
    for (std::size_t node = 0; node < mine.nodes().size() && !part.empty(); ++node) {
      const auto values = mine.values(node).subspan(part.begin, part.size());
      requests_.push_back(group_.isend(values, to, kNodeTag, site));
    }
  }
}

void Reducer::wait_for_all(CallSite site) {
  for (Request& request : requests_) group_.wait(request, site);
  requests_.clear();
}

void Reducer::add_up(Run node, std::span<float> sum) {
  // Block by block, so that the tree stays in the cache: the sources are read once and the sum is
  // written once.
  for (std::size_t begin = 0; begin < sum.size(); begin += kBlock) {
    const std::size_t size = std::min(kBlock, sum.size() - begin);
    block_.start(node, size);
    for (const Source& source : sources_) {
      if (source.node.begin < node.begin || source.node.end > node.end) continue;
      block_.push(source.node, source.values.subspan(begin, size));
    }
    std::ranges::copy(block_.values(0), sum.subspan(begin, size).begin());
  }
}

void Reducer::finish_reduce_scatter(PartialSum& chunk, CallSite site) {
  if (reduction_ == Reduction::native) return native_reduce_scatter(chunk, site);
  wait_for_all(site);
  for_each_node(union_of(runs_), leaves_, [&](Run node) {
    add_up(node, chunk.next());
    chunk.push(node.size());
  });
}

void Reducer::finish_all_reduce(PartialSum& whole, CallSite site) {
  if (reduction_ == Reduction::native) return native_all_reduce(whole, site);
  wait_for_all(site);
  const Run share = my_share();
  for (std::size_t r = 0; r < counts_.size(); ++r) {
    counts_[r] = share_of(mine_->width(), counts_.size(), r).size();
  }
  for_each_node(union_of(runs_), leaves_, [&](Run node) {
    const std::span<float> values = whole.next();
    add_up(node, values.subspan(share.begin, share.size()));
    group_.all_gather_in_place(values, counts_, site);
    whole.push(node.size());
  });
}

void Reducer::reduce_scatter(const PartialSum& mine, std::span<const Run> runs, PartialSum& chunk,
                             CallSite site) {
  begin(mine, runs, site);
  finish_reduce_scatter(chunk, site);
}

void Reducer::all_reduce(const PartialSum& mine, std::span<const Run> runs, PartialSum& whole,
                         CallSite site) {
  begin(mine, runs, site);
  finish_all_reduce(whole, site);
}

void Reducer::native_reduce_scatter(PartialSum& chunk, CallSite site) {
  if (union_of(runs_).empty()) return;  // everyone knows that there is nothing to add
  for (std::size_t r = 0; r < counts_.size(); ++r) {
    counts_[r] = share_of(mine_->width(), counts_.size(), r).size();
  }
  std::span<const float> sum = std::span(collapsed_).first(mine_->width());
  if (mine_->nodes().size() == 1) {
    sum = mine_->values(0);
  } else {
    collapse(*mine_, std::span(collapsed_).first(mine_->width()));
  }
  group_.native_reduce_scatter(sum, chunk.next(), counts_, site);
  push_as_nodes(union_of(runs_), leaves_, chunk);
}

void Reducer::native_all_reduce(PartialSum& whole, CallSite site) {
  if (union_of(runs_).empty()) return;
  const std::span<float> sum = whole.next();
  collapse(*mine_, sum);
  group_.native_all_reduce(sum, site);
  push_as_nodes(union_of(runs_), leaves_, whole);
}

void report_step(StepObserver& observer, std::size_t step, float loss,
                 std::span<const ShardView> shards, Comm& world) {
  require_finite(loss, step);
  Statistics statistics;
  if (observer.wants_statistics()) {
    for (const ShardView& view : shards) statistics.add(view);
    std::array<std::uint64_t, Statistics::word_count> words{};
    statistics.to_words(words);
    world.all_reduce_integers(words);
    statistics = Statistics::from_words(words);
  }
  observer.step({step, loss, std::sqrt(statistics.squares.rounded()), statistics.digest, shards});
}

}  // namespace meshparity
