#include "parallel/collectives.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace meshparity {
namespace {

std::size_t node_count(Run run, std::size_t leaves) {
  std::size_t count = 0;
  for (; !run.empty(); run.begin = first_node_of(run, leaves).end) ++count;
  return count;
}

Run union_of(std::span<const Run> runs) { return {runs.front().begin, runs.back().end}; }

/// A sum that did not come in nodes: it stands in the first one, and the others are 0.
void push_as_nodes(Run run, std::size_t leaves, std::span<const float> sum, PartialSum& target) {
  for (bool first = true; !run.empty(); first = false) {
    const Run node = first_node_of(run, leaves);
    if (first) {
      target.push(node, sum);
    } else {
      target.next_zeroed();
      target.push(node.size());
    }
    run.begin = node.end;
  }
}

}  // namespace

Reducer::Reducer(Comm& group, Reduction reduction, std::size_t leaves)
    : group_(group),
      reduction_(reduction),
      leaves_(leaves),
      chunk_(leaves, Run{}, 0),
      outgoing_counts_(group.size()),
      incoming_counts_(group.size()) {}

void Reducer::reserve(std::span<const Run> runs, std::size_t width) {
  width_ = std::max(width_, width);
  const Run whole = union_of(runs);
  if (std::find(unions_.begin(), unions_.end(), whole) == unions_.end()) unions_.push_back(whole);
  chunk_ = PartialSum(leaves_, unions_, share_of(width_, group_.size(), 0).size());

  std::size_t all_nodes = 0;
  for (const Run run : runs) all_nodes += node_count(run, leaves_);
  const std::size_t my_nodes = node_count(runs[group_.rank()], leaves_);
  const std::size_t union_nodes = node_count(whole, leaves_);
  const std::size_t chunk = share_of(width_, group_.size(), group_.rank()).size();
  const auto grow = [](std::vector<float>& buffer, std::size_t size) {
    buffer.resize(std::max(buffer.size(), size));
  };
  // One pair of buffers serves the all-to-all (nodes of runs) and the all-gather (nodes of the
  // union).
  grow(outgoing_, std::max({my_nodes * width_, union_nodes * chunk, width_}));
  grow(incoming_, std::max({all_nodes * chunk, union_nodes * width_, width_}));
}

void Reducer::reduce_scatter(const PartialSum& mine, std::span<const Run> runs, PartialSum& chunk,
                             CallSite site) {
  if (reduction_ == Reduction::native) return native_reduce_scatter(mine, runs, chunk, site);
  const std::size_t ranks = group_.size();
  const Run my_share = share_of(mine.width(), ranks, group_.rank());

  auto packed = outgoing_.begin();
  for (std::size_t r = 0; r < ranks; ++r) {
    const Run share = share_of(mine.width(), ranks, r);
    for (std::size_t node = 0; node < mine.nodes().size(); ++node) {
      const auto values = mine.values(node).subspan(share.begin, share.size());
      packed = std::copy(values.begin(), values.end(), packed);
    }
    outgoing_counts_[r] = mine.nodes().size() * share.size();
    incoming_counts_[r] = node_count(runs[r], leaves_) * my_share.size();
  }
  std::size_t arriving = 0;
  for (const std::size_t count : incoming_counts_) arriving += count;
  group_.all_to_all({outgoing_.begin(), packed}, outgoing_counts_,
                    std::span(incoming_).first(arriving), incoming_counts_, site);

  std::size_t at = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    for (Run rest = runs[r]; !rest.empty(); at += my_share.size()) {
      const Run node = first_node_of(rest, leaves_);
      chunk.push(node, std::span(incoming_).subspan(at, my_share.size()));
      rest.begin = node.end;
    }
  }
}

void Reducer::all_reduce(const PartialSum& mine, std::span<const Run> runs, PartialSum& whole,
                         CallSite site) {
  if (reduction_ == Reduction::native) return native_all_reduce(mine, runs, whole, site);
  const std::size_t ranks = group_.size();
  const std::size_t width = mine.width();
  chunk_.start(union_of(runs), share_of(width, ranks, group_.rank()).size());
  reduce_scatter(mine, runs, chunk_, site);

  auto packed = outgoing_.begin();
  for (std::size_t node = 0; node < chunk_.nodes().size(); ++node) {
    const auto values = chunk_.values(node);
    packed = std::copy(values.begin(), values.end(), packed);
  }
  const std::size_t nodes = node_count(union_of(runs), leaves_);
  for (std::size_t r = 0; r < ranks; ++r) {
    incoming_counts_[r] = nodes * share_of(width, ranks, r).size();
  }
  group_.all_gather({outgoing_.begin(), packed}, std::span(incoming_).first(nodes * width),
                    incoming_counts_, site);

  Run rest = union_of(runs);
  for (std::size_t n = 0; n < nodes; ++n) {
    const std::span<float> values = whole.next();
    for (std::size_t r = 0; r < ranks; ++r) {
      // Rank r's block starts at nodes * share.begin and holds its share of each node in turn.
      const Run share = share_of(width, ranks, r);
      const auto block =
          incoming_.begin() + static_cast<std::ptrdiff_t>(nodes * share.begin + n * share.size());
      std::copy_n(block, share.size(), values.begin() + static_cast<std::ptrdiff_t>(share.begin));
    }
    const Run node = first_node_of(rest, leaves_);
    whole.push(node.size());
    rest.begin = node.end;
  }
}

std::span<float> Reducer::collapsed(const PartialSum& mine) {
  const std::span<float> sum = std::span(outgoing_).first(mine.width());
  std::fill(sum.begin(), sum.end(), 0.0F);
  for (std::size_t node = 0; node < mine.nodes().size(); ++node) {
    const auto values = mine.values(node);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] + values[i];
  }
  return sum;
}

void Reducer::native_reduce_scatter(const PartialSum& mine, std::span<const Run> runs,
                                    PartialSum& chunk, CallSite site) {
  for (std::size_t r = 0; r < group_.size(); ++r) {
    incoming_counts_[r] = share_of(mine.width(), group_.size(), r).size();
  }
  const std::span<float> my_sum = std::span(incoming_).first(incoming_counts_[group_.rank()]);
  group_.native_reduce_scatter(collapsed(mine), my_sum, incoming_counts_, site);
  push_as_nodes(union_of(runs), leaves_, my_sum, chunk);
}

void Reducer::native_all_reduce(const PartialSum& mine, std::span<const Run> runs,
                                PartialSum& whole, CallSite site) {
  const std::span<float> sum = collapsed(mine);
  group_.native_all_reduce(sum, site);
  push_as_nodes(union_of(runs), leaves_, sum, whole);
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
