#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/on_ranks.h"
#include "ci/benchmarks/paired.h"
#include "parallel/reducer.h"

namespace meshparity::bench {
namespace {

constexpr std::size_t kRounds = 201;  // many short ones: most are not disturbed

/// Seconds of a call between two barriers. Collective: all ranks make the same number of calls.
double seconds_of(const Action& action, std::size_t calls, Comm& world) {
  const auto warm_up = [&] {
    action();
    world.barrier();
  };
  const auto work = [&] {
    for (std::size_t i = 0; i < calls; ++i) action();
    world.barrier();
  };
  return wall_seconds(warm_up, work) / static_cast<double>(calls);
}

/// A sum with one leaf on each rank, reduced in one of the two ways.
class Sum {
 public:
  Sum(Reduction reduction, std::size_t width, Comm& world)
      : runs_(shares_of({0, world.size()}, world.size())),
        my_run_(runs_[world.rank()]),
        width_(width),
        chunk_width_(share_of(width, world.size(), world.rank()).size()),
        mine_(world.size(), my_run_, width),
        result_(world.size(), Range{0, world.size()}, width),
        reducer_(world, reduction, world.size()) {
    reducer_.reserve(runs_, width);
    set_to(static_cast<float>(world.rank()));
  }

  /// first, first + 1, ...
  void set_to(float first, float step = 1) {
    for (PartialSum* sum : {&mine_, &result_}) {
      sum->start(my_run_, width_);
      for (float value = first; float& element : sum->next()) {
        element = value;
        value += step;
      }
      sum->push();
    }
  }

  void reduce_scatter() {
    result_.start({0, runs_.size()}, chunk_width_);
    reducer_.reduce_scatter(mine_, runs_, result_);
  }
  /// In place, as the trainers do.
  void all_reduce() {
    result_.start(my_run_, width_);
    result_.next();
    result_.push();
    reducer_.all_reduce(result_, runs_, result_);
  }
  std::span<const float> total() { return result_.total(); }

 private:
  std::vector<Range> runs_;
  Range my_run_;
  std::size_t width_;
  std::size_t chunk_width_;
  PartialSum mine_;
  PartialSum result_;
  Reducer reducer_;
};

/// The transport's own call alone, as native reductions use it.
class Transport {
 public:
  Transport(std::size_t width, Comm& world) : world_(world), values_(width), mine_(width) {
    for (const Range& share : shares_of({0, width}, world.size())) counts_.push_back(share.size());
  }

  void reduce_scatter() {
    world_.native_reduce_scatter(values_, std::span(mine_).first(counts_[world_.rank()]), counts_);
  }
  void all_reduce() { world_.native_all_reduce(values_); }

 private:
  Comm& world_;
  std::vector<float> values_;
  std::vector<float> mine_;
  std::vector<std::size_t> counts_;
};

struct Operation {
  const char* name;
  void (Sum::*on_sums)();
  void (Transport::*alone)();
};

/// Small whole numbers have exact sums, so both ways must give the same.
void require_same_sums(Sum& canonical, Sum& native, const Operation& operation) {
  (canonical.*operation.on_sums)();
  (native.*operation.on_sums)();
  if (!std::ranges::equal(canonical.total(), native.total())) {
    throw std::runtime_error("canonical and native sums of whole numbers differ");
  }
  // Added up over and over in place, other values would overflow.
  canonical.set_to(0, 0);
  native.set_to(0, 0);
}

void measure(const Operation& operation, std::size_t width, std::size_t calls, Comm& world) {
  Sum canonical(Reduction::canonical, width, world);
  Sum native(Reduction::native, width, world);
  Transport transport(width, world);
  require_same_sums(canonical, native, operation);
  const std::array<Action, 3> contestants = {[&] { (canonical.*operation.on_sums)(); },
                                             [&] { (native.*operation.on_sums)(); },
                                             [&] { (transport.*operation.alone)(); }};
  std::array<std::vector<double>, 3> seconds;
  for (std::size_t round = 0; round < kRounds; ++round) {
    // Contestants take turns to go first, as in every paired measurement.
    for (std::size_t turn = 0; turn < contestants.size(); ++turn) {
      const std::size_t c = (round + turn) % contestants.size();
      seconds[c].push_back(seconds_of(contestants[c], calls, world));
    }
  }
  if (world.rank() != 0) return;
  std::array<double, 3> fast{};
  for (std::size_t c = 0; c < fast.size(); ++c) fast[c] = quantile(seconds[c], 0.25);
  print({"collectives",
         fmt::format("{}, {} KiB, {} ranks", operation.name, width * sizeof(float) / 1024,
                     world.size()),
         fast[0] / fast[1], 1.0, Good::below,
         fmt::format("{:.1f} us; native {:.1f}, the transport's call alone {:.1f}", 1e6 * fast[0],
                     1e6 * fast[1], 1e6 * fast[2])});
}

}  // namespace

void measure_collectives(Comm& world) {
  constexpr std::size_t kSmall = std::size_t{64} * 1024 / sizeof(float);
  constexpr std::size_t kLarge = std::size_t{4} * 1024 * 1024 / sizeof(float);
  for (const auto& [width, calls] : {std::pair{kSmall, 20}, std::pair{kLarge, 1}}) {
    const auto times = static_cast<std::size_t>(calls);
    measure({"all_reduce", &Sum::all_reduce, &Transport::all_reduce}, width, times, world);
    measure({"reduce_scatter", &Sum::reduce_scatter, &Transport::reduce_scatter}, width, times,
            world);
  }
}

}  // namespace meshparity::bench
