#include "ci/benchmarks/unshared_work.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "ci/benchmarks/paired.h"
#include "model/kernels.h"

namespace meshparity::bench {
UnsharedWork::UnsharedWork(std::size_t parameters, Comm& world)
    : world_(world),
      values_(parameters),
      gradient_(parameters),
      incoming_(share_of(parameters, world.size(), world.rank()).size() * (world.size() - 1)) {}

Run UnsharedWork::part_of(std::size_t rank) const {
  return share_of(gradient_.size(), world_.size(), rank);
}

void UnsharedWork::scatter_parts() {
  const std::size_t mine = part_of(world_.rank()).size();
  std::span<float> rest(incoming_);
  exchange(
      [&](std::size_t to) { return part_of(to); },
      [&](std::size_t /*from*/) { return std::exchange(rest, rest.subspan(mine)).first(mine); });
}

void UnsharedWork::gather_parts() {
  exchange([&](std::size_t /*to*/) { return part_of(world_.rank()); },
           [&](std::size_t from) {
             const Run part = part_of(from);
             return std::span(gradient_).subspan(part.begin, part.size());
           });
}

template <typename Outgoing, typename Incoming>
void UnsharedWork::exchange(Outgoing outgoing, Incoming incoming) {
  std::vector<Request> requests;
  for (std::size_t r = 0; r < world_.size(); ++r) {
    if (r == world_.rank()) continue;
    requests.push_back(world_.irecv(incoming(r), r, 0));
    const Run sent = outgoing(r);
    requests.push_back(world_.isend(std::span(gradient_).subspan(sent.begin, sent.size()), r, 0));
  }
  for (Request& request : requests) world_.wait(request);
}

UnsharedWork::Seconds UnsharedWork::measure() {
  // As in a step, a rank has just written the gradient that it sends.
  const auto write = [&] {
    std::ranges::fill(gradient_, written_ += 1);
    world_.barrier();
  };
  Seconds seconds;
  seconds.transfer = wall_seconds(write, [&] {
    scatter_parts();
    gather_parts();
  });
  seconds.update =
      wall_seconds([&] { world_.barrier(); }, [&] { sgd_update(gradient_, 1e-9F, values_); });
  return seconds;
}

}  // namespace meshparity::bench
