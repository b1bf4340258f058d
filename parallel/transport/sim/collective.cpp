#include "parallel/transport/sim/collective.h"

#include <algorithm>
#include <limits>

#include "parallel/transport/float_order.h"

namespace meshparity::sim {
namespace {

std::string list(std::span<const std::size_t> counts) {
  std::string text = "{";
  for (const std::size_t count : counts) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(count);
  }
  return text + "}";
}

std::size_t size_of(const CollectiveCall& call) {
  return call.kind == Collective::all_reduce_integers ? call.integers.size() : call.output.size();
}

bool have_counts(Collective kind) {
  return kind == Collective::all_gather || kind == Collective::native_reduce_scatter;
}

/// all_to_all: what one rank sends to another must be what that one expects.
std::optional<std::string> disagreement_of_pairs(std::span<const CollectiveCall> calls,
                                                 std::span<const std::size_t> members) {
  for (std::size_t from = 0; from < calls.size(); ++from) {
    for (std::size_t to = 0; to < calls.size(); ++to) {
      if (!calls[from].arrived || !calls[to].arrived) continue;
      const std::size_t sent = calls[from].counts[to];
      const std::size_t expected = calls[to].incoming_counts[from];
      if (sent != expected) {
        return "how many values rank " + std::to_string(members[from]) + " sends to rank " +
               std::to_string(members[to]) + " (" + std::to_string(sent) + " sent, " +
               std::to_string(expected) + " expected)";
      }
    }
  }
  return std::nullopt;
}

/// Ranks of one colour must call their new group the same.
std::optional<std::string> disagreement_of_names(std::span<const CollectiveCall> calls) {
  for (const CollectiveCall& a : calls) {
    for (const CollectiveCall& b : calls) {
      if (a.arrived && b.arrived && a.colour == b.colour && *a.name != *b.name) {
        return "the name of the new group of colour " + std::to_string(a.colour) + " (" + *a.name +
               " or " + *b.name + ")";
      }
    }
  }
  return std::nullopt;
}

}  // namespace

const char* name_of(Collective kind) {
  switch (kind) {
    case Collective::broadcast:
      return "broadcast";
    case Collective::all_gather:
      return "all_gather";
    case Collective::all_to_all:
      return "all_to_all";
    case Collective::barrier:
      return "barrier";
    case Collective::all_reduce_integers:
      return "all_reduce_integers";
    case Collective::all_reduce_maximum:
      return "all_reduce_maximum";
    case Collective::native_all_reduce:
      return "native_all_reduce";
    case Collective::native_reduce_scatter:
      return "native_reduce_scatter";
    case Collective::split:
      break;
  }
  return "split";
}

std::string describe(const CollectiveCall& call, std::span<const std::size_t> members) {
  std::string operation = name_of(call.kind);
  const std::size_t size = size_of(call);
  const std::string of_values = " of " + std::to_string(size) + (size == 1 ? " value" : " values");
  switch (call.kind) {
    case Collective::broadcast:
      return operation + of_values + " from rank " + std::to_string(members[call.root]);
    case Collective::all_gather:
    case Collective::native_reduce_scatter:
      return operation + " with counts " + list(call.counts);
    case Collective::all_to_all:
      return operation + " sending " + list(call.counts) + " and expecting " +
             list(call.incoming_counts);
    case Collective::all_reduce_integers:
    case Collective::all_reduce_maximum:
    case Collective::native_all_reduce:
      return operation + of_values;
    case Collective::split:
      return operation + " into " + *call.name + " with colour " + std::to_string(call.colour);
    case Collective::barrier:
      break;
  }
  return operation;
}

std::optional<std::string> disagreement(std::span<const CollectiveCall> calls,
                                        std::span<const std::size_t> members) {
  const auto first = std::find_if(calls.begin(), calls.end(),
                                  [](const CollectiveCall& call) { return call.arrived; });
  for (const CollectiveCall& call : calls) {
    if (!call.arrived) continue;
    if (call.kind != first->kind) return "the operation";
    if (call.root != first->root) return "the root";
    if (have_counts(call.kind) && !std::ranges::equal(call.counts, first->counts)) {
      return "the counts";
    }
    if (!have_counts(call.kind) && call.kind != Collective::all_to_all &&
        size_of(call) != size_of(*first)) {
      return "the size";
    }
  }
  if (first == calls.end()) return std::nullopt;
  if (first->kind == Collective::all_to_all) return disagreement_of_pairs(calls, members);
  if (first->kind == Collective::split) return disagreement_of_names(calls);
  return std::nullopt;
}

CollectiveMover::CollectiveMover(std::size_t ranks) : offsets_(ranks), terms_(ranks) {
  additions_.reserve(ranks);
}

void CollectiveMover::move(std::span<const CollectiveCall> calls, std::uint64_t order_seed) {
  switch (calls[0].kind) {
    case Collective::broadcast: {
      const std::span<const float> values = calls[calls[0].root].output;
      for (const CollectiveCall& call : calls) {
        if (call.output.data() != values.data()) std::ranges::copy(values, call.output.begin());
      }
      return;
    }
    case Collective::all_gather:
      return all_gather(calls);
    case Collective::all_to_all:
      return all_to_all(calls);
    case Collective::all_reduce_integers:
      return all_reduce_integers(calls);
    case Collective::all_reduce_maximum:
      return all_reduce_maximum(calls);
    case Collective::native_all_reduce:
      return native_all_reduce(calls, order_seed);
    case Collective::native_reduce_scatter:
      return native_reduce_scatter(calls, order_seed);
    case Collective::barrier:
    case Collective::split:
      return;
  }
}

void CollectiveMover::all_gather(std::span<const CollectiveCall> calls) {
  for (const CollectiveCall& to : calls) {
    auto out = to.output.begin();
    for (const CollectiveCall& from : calls) out = std::ranges::copy(from.input, out).out;
  }
}

void CollectiveMover::all_to_all(std::span<const CollectiveCall> calls) {
  std::fill(offsets_.begin(), offsets_.end(), 0);
  for (std::size_t to = 0; to < calls.size(); ++to) {
    auto out = calls[to].output.begin();
    for (std::size_t from = 0; from < calls.size(); ++from) {
      const std::size_t count = calls[from].counts[to];
      out = std::ranges::copy(calls[from].input.subspan(offsets_[from], count), out).out;
      offsets_[from] += count;
    }
  }
}

void CollectiveMover::all_reduce_integers(std::span<const CollectiveCall> calls) {
  for (std::size_t i = 0; i < calls[0].integers.size(); ++i) {
    std::uint64_t sum = 0;
    for (const CollectiveCall& call : calls) sum += call.integers[i];
    for (const CollectiveCall& call : calls) call.integers[i] = sum;
  }
}

void CollectiveMover::all_reduce_maximum(std::span<const CollectiveCall> calls) {
  for (std::size_t i = 0; i < calls[0].output.size(); ++i) {
    std::int32_t largest = std::numeric_limits<std::int32_t>::min();
    for (const CollectiveCall& call : calls) {
      largest = std::max(largest, place_in_order(call.output[i]));
    }
    for (const CollectiveCall& call : calls) call.output[i] = float_at_place(largest);
  }
}

void CollectiveMover::native_all_reduce(std::span<const CollectiveCall> calls,
                                        std::uint64_t order_seed) {
  draw_order(calls.size(), order_seed);
  for (std::size_t i = 0; i < calls[0].output.size(); ++i) {
    for (std::size_t r = 0; r < calls.size(); ++r) terms_[r] = calls[r].output[i];
    const float sum = sum_in_drawn_order();
    for (const CollectiveCall& call : calls) call.output[i] = sum;
  }
}

void CollectiveMover::native_reduce_scatter(std::span<const CollectiveCall> calls,
                                            std::uint64_t order_seed) {
  draw_order(calls.size(), order_seed);
  std::size_t i = 0;
  for (const CollectiveCall& to : calls) {
    for (float& result : to.output) {
      for (std::size_t r = 0; r < calls.size(); ++r) terms_[r] = calls[r].input[i];
      result = sum_in_drawn_order();
      ++i;
    }
  }
}

/// Any two of the partial sums that are left, until one is left: every order and every bracketing
/// that an implementation could choose.
void CollectiveMover::draw_order(std::size_t ranks, std::uint64_t order_seed) {
  Random order(order_seed);
  additions_.clear();
  for (std::size_t r = 0; r < ranks; ++r) offsets_[r] = r;
  for (std::size_t left = ranks; left > 1; --left) {
    std::swap(offsets_[order.up_to(left - 1)], offsets_[left - 1]);
    const std::size_t second = offsets_[left - 1];
    additions_.emplace_back(offsets_[order.up_to(left - 2)], second);
  }
}

float CollectiveMover::sum_in_drawn_order() {
  for (const auto& [first, second] : additions_) terms_[first] += terms_[second];
  return additions_.empty() ? terms_[0] : terms_[additions_.back().first];
}

}  // namespace meshparity::sim
