#include "parallel/reducer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <stdexcept>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

constexpr std::size_t kBlock = 8192;  // elements that are added up together
// Elements that all ranks together receive at a time. The ranks of one machine share its caches.
constexpr std::size_t kArriving = 1 << 20;
// A rank may send up to this many elements to be done in one round instead of two.
constexpr std::size_t kShort = 1 << 13;

std::size_t node_count(Range run, std::size_t leaves) {
  std::size_t count = 0;
  for (; !run.empty(); run.begin = first_node_of(run, leaves).end) ++count;
  return count;
}

Range union_of(std::span<const Range> runs) { return {runs.front().begin, runs.back().end}; }

/// Calls `visit` with each node of a run, left to right.
template <typename Visit>
void for_each_node(Range run, std::size_t leaves, Visit visit) {
  while (!run.empty()) {
    const Range node = first_node_of(run, leaves);
    visit(node);
    run.begin = node.end;
  }
}

/// sum = the nodes of `mine` added up: this rank's addend in a native reduction. `sum` may be the
/// first node itself.
void collapse(const PartialSum& mine, std::span<float> sum) {
  if (mine.nodes().empty()) std::fill(sum.begin(), sum.end(), 0.0F);
  for (std::size_t node = 0; node < mine.nodes().size(); ++node) {
    if (node == 0) {
      if (mine.values(0).data() != sum.data()) std::ranges::copy(mine.values(0), sum.begin());
    } else {
      add_rows(mine.values(node), 1, sum);
    }
  }
}

/// After a native reduction, whose result has been written to `target.next()`: it becomes the first
/// node of the run, and the other nodes are 0.
void push_as_nodes(Range run, std::size_t leaves, PartialSum& target) {
  for_each_node(run, leaves, [&, first = true](Range node) mutable {
    if (!first) target.next_zeroed();
    first = false;
    target.push(node.size());
  });
}

bool lies_in(Range node, Range whole) { return node.begin >= whole.begin && node.end <= whole.end; }

std::logic_error too_little_memory() {
  return std::logic_error("Reducer: too little memory was reserved");
}

/// The pieces in which `size` elements travel.
std::size_t piece_count(std::size_t size, std::size_t piece) { return (size + piece - 1) / piece; }

template <typename Visit>
void for_each_piece(std::size_t size, std::size_t piece, Visit visit) {
  for (std::size_t begin = 0; begin < size; begin += piece) {
    visit(Range{begin, std::min(begin + piece, size)});
  }
}

}  // namespace

Reducer::Reducer(Comm& group, Reduction reduction, std::size_t leaves, std::size_t channel)
    : group_(group),
      reduction_(reduction),
      leaves_(leaves),
      piece_(longest_message(group.size())),
      node_tag_(static_cast<int>(2 * channel)),
      share_tag_(static_cast<int>(2 * channel + 1)),
      counts_(group.size()) {}

void Reducer::reserve(std::span<const Range> runs, std::size_t width) {
  const Range whole = union_of(runs);

  std::size_t nodes = 0;
  for (const Range run : runs) nodes += node_count(run, leaves_);
  const std::size_t mine = node_count(runs[group_.rank()], leaves_);
  const std::size_t others = group_.size() - 1;
  // The first rank's share is the largest; a sum of fewer elements may be a short one.
  const std::size_t share = std::max(share_of(width, group_.size(), 0).size(),
                                     std::min(width, longest_short_sum(group_.size())));
  const auto grow = [](auto& buffer, std::size_t size) {
    buffer.reserve(std::max(buffer.capacity(), size));
  };
  grow(sources_, nodes);
  grow(nodes_, node_count(whole, leaves_));
  for (auto& arrivals : arrivals_) grow(arrivals, nodes - mine);
  const std::size_t step_size = (nodes - mine) * std::min(share, piece_);
  incoming_.resize(std::max(incoming_.size(), 2 * step_size));
  scratch_.resize(std::max(scratch_.size(), scratch_for(share)));
  grow(departures_, piece_count(share, piece_) * others * mine);
  grow(borrowed_shares_, others);
  grow(lent_shares_, others);
  if (reduction_ == Reduction::native) {
    collapsed_.resize(std::max(collapsed_.size(), width));
  }
}

std::size_t Reducer::longest_short_sum(std::size_t ranks) {
  return kShort / std::max(ranks - 1, std::size_t{1});
}

std::size_t Reducer::longest_message(std::size_t ranks) {
  const std::size_t at_once = std::max(ranks * (ranks - 1), std::size_t{1});
  return std::max(kArriving / at_once, kBlock);
}

std::size_t Reducer::scratch_for(std::size_t share) const {
  const auto levels = static_cast<std::size_t>(std::bit_width(leaves_)) + 1;
  return levels * std::min(share, kBlock);
}

Range Reducer::share_of_rank(std::size_t rank) const {
  if (everyone_owns_all_) return {0, mine_->width()};
  return share_of(mine_->width(), group_.size(), rank);
}

template <typename Visit>
void Reducer::for_each_other(Visit visit) const {
  for (std::size_t i = 1; i < group_.size(); ++i) visit((group_.rank() + i) % group_.size());
}

std::size_t Reducer::pieces() const {
  return piece_count(share_of_rank(group_.rank()).size(), piece_);
}

Range Reducer::piece_of(std::size_t step) const {
  const std::size_t begin = step % pieces() * piece_;
  return {begin, std::min(begin + piece_, share_of_rank(group_.rank()).size())};
}

void Reducer::begin_reduce_scatter(const PartialSum& mine, std::span<const Range> runs,
                                   CallSite site) {
  everyone_owns_all_ = false;
  begin(mine, runs, site);
}

void Reducer::begin_all_reduce(const PartialSum& mine, std::span<const Range> runs, CallSite site) {
  everyone_owns_all_ = mine.width() <= longest_short_sum(group_.size());
  begin(mine, runs, site);
}

void Reducer::begin(const PartialSum& mine, std::span<const Range> runs, CallSite site) {
  mine_ = &mine;
  runs_ = runs;
  if (reduction_ == Reduction::native) return;
  nodes_.clear();
  for_each_node(union_of(runs), leaves_, [&](Range node) { nodes_.push_back(node); });
  sources_.clear();
  const Range share = share_of_rank(group_.rank());
  if (scratch_.size() < scratch_for(share.size())) throw too_little_memory();
  for (std::size_t r = 0; r < group_.size(); ++r) {
    for_each_node(runs[r], leaves_, [&, index = std::size_t{0}](Range node) mutable {
      const bool own = r == group_.rank();
      sources_.push_back(
          {node, r, own ? mine.values(index++).data() + share.begin : nullptr, nullptr});
    });
  }
  receive(0, site);
  for (const Range node : nodes_) {
    for_each_piece(share_of_rank(0).size(), piece_, [&](Range piece) {
      for (std::size_t i = 0; i < mine.nodes().size(); ++i) {
        if (!lies_in(mine.nodes()[i], node)) continue;
        for_each_other([&](std::size_t to) {
          const Range part = share_of_rank(to);
          const Range sent{part.begin + piece.begin, std::min(part.begin + piece.end, part.end)};
          if (sent.begin >= sent.end) return;
          const auto values = mine.values(i).subspan(sent.begin, sent.size());
          departures_.push_back(everyone_owns_all_ ? group_.isend(values, to, node_tag_, site)
                                                   : group_.lend(values, to, node_tag_, site));
        });
      }
    });
  }
}

std::span<float> Reducer::incoming_of(std::size_t step) {
  const std::size_t half = incoming_.size() / 2;
  return std::span(incoming_).subspan(step % 2 * half, half);
}

void Reducer::receive(std::size_t step, CallSite site) {
  if (step >= nodes_.size() * pieces()) return;
  const std::size_t size = piece_of(step).size();
  std::span<float> rest = incoming_of(step);
  for (const Source& source : sources_) {
    if (source.rank == group_.rank() || !lies_in(source.node, node_of(step))) continue;
    if (rest.size() < size) throw too_little_memory();
    const std::span<float> room = rest.first(size);
    arrivals_[step % 2].push_back(everyone_owns_all_
                                      ? group_.irecv(room, source.rank, node_tag_, site)
                                      : group_.borrow(room, source.rank, node_tag_, site));
    rest = rest.subspan(size);
  }
}

void Reducer::wait_for(std::vector<Request>& requests, CallSite site) {
  for (Request& request : requests) group_.wait(request, site);
  requests.clear();
}

void Reducer::add_up(std::size_t step, std::span<float> sum, CallSite site) {
  receive(step + 1, site);
  auto arrival = arrivals_[step % 2].begin();
  const Range node = node_of(step);
  std::size_t first_source = 0;
  while (!lies_in(sources_[first_source].node, node)) ++first_source;
  bool overwrites_late = false;  // the sum lies on a source that is read after the first addition
  for (std::size_t i = first_source; i < sources_.size() && lies_in(sources_[i].node, node); ++i) {
    Source& source = sources_[i];
    if (source.own != nullptr) {
      source.piece = source.own + piece_of(step).begin;
      overwrites_late |= source.piece == sum.data() && i > first_source + 1;
    } else {
      source.piece = group_.read(*arrival++, site).data();
    }
  }
  // Block by block, so that the inner nodes of the tree stay in the cache: the sources are read
  // once and the sum is written once.
  for (std::size_t begin = 0; begin < sum.size(); begin += kBlock) {
    const std::size_t size = std::min(kBlock, sum.size() - begin);
    std::size_t source = first_source;
    float* const block = sum.data() + begin;
    const float* const result =
        node_sum(node, {begin, begin + size}, source, overwrites_late ? scratch_.data() : block,
                 scratch_.data() + size);
    if (result != block) std::copy_n(result, size, block);
  }
  wait_for(arrivals_[step % 2], site);  // what was borrowed is given back
}

const float* Reducer::node_sum(Range node, Range block, std::size_t& source, float* sum,
                               float* scratch) const {
  if (sources_[source].node == node) return sources_[source++].piece + block.begin;
  const std::size_t half = node.begin + std::bit_floor(node.size() - 1);
  const float* const left = node_sum({node.begin, half}, block, source, sum, scratch);
  const float* const right =
      node_sum({half, node.end}, block, source, scratch, scratch + block.size());
  add({left, block.size()}, {right, block.size()}, {sum, block.size()});
  return sum;
}

void Reducer::finish_reduce_scatter(PartialSum& chunk, CallSite site) {
  if (reduction_ == Reduction::native) return native_reduce_scatter(chunk, site);
  const bool in_place = &chunk == mine_;
  if (in_place) restart_in_place(chunk);
  const Range share = share_of_rank(group_.rank());
  std::size_t step = 0;
  for (const Range node : nodes_) {
    std::span<float> sum = chunk.next();
    if (in_place) sum = sum.subspan(share.begin, share.size());
    for_each_piece(sum.size(), piece_, [&](Range piece) {
      add_up(step++, sum.subspan(piece.begin, piece.size()), site);
    });
    chunk.push(node.size());
  }
  wait_for(departures_, site);
}

void Reducer::restart_in_place(PartialSum& sum) const {
  const Range all = union_of(runs_);
  if (!all.empty() && !is_node(all, leaves_)) {
    throw std::logic_error("Reducer: a sum of several nodes cannot be finished in place");
  }
  sum.start(all, mine_->width());
}

void Reducer::finish_all_reduce(PartialSum& whole, CallSite site) {
  if (reduction_ == Reduction::native) return native_all_reduce(whole, site);
  const bool in_place = &whole == mine_;
  if (in_place) restart_in_place(whole);
  // The sum overwrites this rank's nodes, so they must have been sent.
  if (in_place && everyone_owns_all_) wait_for(departures_, site);
  std::size_t step = 0;
  for (const Range node : nodes_) {
    const std::span<float> sum = whole.next();
    const Range mine = share_of_rank(group_.rank());
    // In place, shares arrive where this rank's nodes are still lent from: borrow them later.
    if (!everyone_owns_all_ && !in_place) borrow_shares(sum, site);
    for_each_piece(mine.size(), piece_, [&](Range piece) {
      add_up(step++, sum.subspan(mine.begin + piece.begin, piece.size()), site);
    });
    if (!everyone_owns_all_) lend_share(sum, site);
    if (!everyone_owns_all_ && in_place) {
      wait_for(departures_, site);
      borrow_shares(sum, site);
    }
    finish_all_gather(site);
    whole.push(node.size());
  }
  wait_for(departures_, site);
}

void Reducer::begin_all_gather(std::span<float> whole, CallSite site) {
  borrow_shares(whole, site);
  lend_share(whole, site);
}

void Reducer::finish_all_gather(CallSite site) {
  for (Share& share : borrowed_shares_) {
    const std::span<const float> values = group_.read(share.loan, site);
    if (values.data() != share.place.data()) std::ranges::copy(values, share.place.begin());
    group_.wait(share.loan, site);
  }
  borrowed_shares_.clear();
  wait_for(lent_shares_, site);
}

void Reducer::lend_share(std::span<const float> whole, CallSite site) {
  const Range mine = share_of(whole.size(), group_.size(), group_.rank());
  if (mine.empty()) return;
  const std::span<const float> share = whole.subspan(mine.begin, mine.size());
  for_each_other(
      [&](std::size_t to) { lent_shares_.push_back(group_.lend(share, to, share_tag_, site)); });
}

void Reducer::borrow_shares(std::span<float> whole, CallSite site) {
  for_each_other([&](std::size_t from) {
    const Range part = share_of(whole.size(), group_.size(), from);
    if (part.empty()) return;
    const std::span<float> place = whole.subspan(part.begin, part.size());
    borrowed_shares_.push_back({group_.borrow(place, from, share_tag_, site), place});
  });
}

void Reducer::reduce_scatter(const PartialSum& mine, std::span<const Range> runs, PartialSum& chunk,
                             CallSite site) {
  begin_reduce_scatter(mine, runs, site);
  finish_reduce_scatter(chunk, site);
}

void Reducer::all_reduce(const PartialSum& mine, std::span<const Range> runs, PartialSum& whole,
                         CallSite site) {
  begin_all_reduce(mine, runs, site);
  finish_all_reduce(whole, site);
}

void Reducer::native_reduce_scatter(PartialSum& chunk, CallSite site) {
  // MPI cannot scatter a sum in place. Its all_reduce is faster than a scatter and a copy.
  if (&chunk == mine_) return native_all_reduce(chunk, site);
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
  const bool in_place = &whole == mine_;
  const std::span<float> sum = in_place && !whole.nodes().empty() ? whole.values(0) : whole.next();
  collapse(*mine_, sum);
  if (in_place) restart_in_place(whole);
  group_.native_all_reduce(sum, site);
  push_as_nodes(union_of(runs_), leaves_, whole);
}

}  // namespace meshparity
