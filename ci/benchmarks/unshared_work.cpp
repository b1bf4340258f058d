#include "ci/benchmarks/unshared_work.h"

#include <algorithm>
#include <span>
#include <vector>

#include "ci/benchmarks/paired.h"
#include "model/canonical_sum.h"
#include "model/kernels.h"

namespace meshparity::bench {
namespace {

void wait_for(std::vector<Request>& requests, Comm& world) {
  for (Request& request : requests) world.wait(request);
}

}  // namespace

UnsharedWork::UnsharedWork(std::size_t parameters, Comm& world)
    : world_(world),
      values_(parameters),
      gradient_(parameters),
      incoming_(share_of(parameters, world.size(), world.rank()).size() * (world.size() - 1)) {}

void UnsharedWork::scatter_parts() {
  std::vector<Request> requests;
  std::span<float> rest(incoming_);
  const std::size_t mine = share_of(gradient_.size(), world_.size(), world_.rank()).size();
  for (std::size_t r = 0; r < world_.size(); ++r) {
    if (r == world_.rank()) continue;
    requests.push_back(world_.irecv(rest.first(mine), r, 0));
    rest = rest.subspan(mine);
    const Run part = share_of(gradient_.size(), world_.size(), r);
    requests.push_back(world_.isend(std::span(gradient_).subspan(part.begin, part.size()), r, 0));
  }
  wait_for(requests, world_);
}

void UnsharedWork::gather_parts() {
  std::vector<Request> requests;
  const Run mine = share_of(gradient_.size(), world_.size(), world_.rank());
  for (std::size_t r = 0; r < world_.size(); ++r) {
    if (r == world_.rank()) continue;
    const Run part = share_of(gradient_.size(), world_.size(), r);
    requests.push_back(world_.irecv(std::span(gradient_).subspan(part.begin, part.size()), r, 1));
    requests.push_back(world_.isend(std::span(gradient_).subspan(mine.begin, mine.size()), r, 1));
  }
  wait_for(requests, world_);
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
