#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "parallel/transport/call_site.h"
#include "parallel/transport/sim/scheduler.h"

namespace meshparity::sim {

struct Group;

enum class Collective {
  broadcast,
  all_gather,
  all_to_all,
  barrier,
  all_reduce_integers,
  all_reduce_maximum,
  native_all_reduce,
  native_reduce_scatter,
  split
};

const char* name_of(Collective kind);

/// One member's call of a collective operation. What its kind does not use is empty.
struct CollectiveCall {
  Collective kind = Collective::barrier;
  CallSite site;
  std::size_t root = 0;                      // broadcast
  std::span<const float> input = {};         // all_gather, all_to_all, native_reduce_scatter
  std::span<float> output = {};              // every kind that moves floats
  std::span<std::uint64_t> integers = {};    // all_reduce_integers
  std::span<const std::size_t> counts = {};  // of the gathered, scattered or outgoing blocks
  std::span<const std::size_t> incoming_counts = {};  // all_to_all
  const std::string* name = nullptr;                  // split, as the next three
  std::size_t colour = 0;
  std::size_t key = 0;
  Group* new_group = nullptr;  // the result of a split, with the member's rank in it
  std::size_t new_rank = 0;
  bool arrived = false;
};

/// "broadcast of 3 values from rank 4": the arguments on which ranks can disagree. `members` are
/// the world ranks of the group.
std::string describe(const CollectiveCall& call, std::span<const std::size_t> members);

/// What the members that have arrived disagree on; nothing if they agree.
std::optional<std::string> disagreement(std::span<const CollectiveCall> calls,
                                        std::span<const std::size_t> members);

/// Moves the data of a collective operation (not a split) in which everyone has arrived and agrees.
class CollectiveMover {
 public:
  explicit CollectiveMover(std::size_t ranks);
  /// A native float reduction draws its order of additions from `order_seed`.
  void move(std::span<const CollectiveCall> calls, std::uint64_t order_seed);

 private:
  void all_gather(std::span<const CollectiveCall> calls);
  void all_to_all(std::span<const CollectiveCall> calls);
  void all_reduce_integers(std::span<const CollectiveCall> calls);
  void all_reduce_maximum(std::span<const CollectiveCall> calls);
  void native_all_reduce(std::span<const CollectiveCall> calls, std::uint64_t order_seed);
  void native_reduce_scatter(std::span<const CollectiveCall> calls, std::uint64_t order_seed);
  void draw_order(std::size_t ranks, std::uint64_t order_seed);
  float sum_in_drawn_order();

  std::vector<std::size_t> offsets_;  // of all three: memory for one entry a rank, taken once
  std::vector<float> terms_;
  std::vector<std::pair<std::size_t, std::size_t>> additions_;  // terms[first] += terms[second]
};

}  // namespace meshparity::sim
