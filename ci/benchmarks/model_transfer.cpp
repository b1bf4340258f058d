#include "ci/benchmarks/model_transfer.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "ci/benchmarks/paired.h"

namespace meshparity::bench {
namespace {

std::span<float> part(std::span<float> values, Range run) {
  return values.subspan(run.begin, run.size());
}

}  // namespace

ModelTransfer::ModelTransfer(std::size_t parameters, Comm& world)
    : world_(world),
      gradient_(parameters),
      incoming_(share_of(parameters, world.size(), world.rank()).size() * (world.size() - 1)),
      parameters_(parameters) {}

Range ModelTransfer::part_of(std::size_t rank) const {
  return share_of(gradient_.size(), world_.size(), rank);
}

template <typename Outgoing, typename Incoming>
void ModelTransfer::exchange(Outgoing outgoing, Incoming incoming) {
  struct Loan {
    Request request;
    std::span<float> place;
  };
  std::vector<Loan> borrowed;
  std::vector<Request> lent;
  for (std::size_t r = 0; r < world_.size(); ++r) {
    if (r == world_.rank()) continue;
    const std::span<float> place = incoming(r);
    borrowed.push_back({world_.borrow(place, r, 0), place});
    lent.push_back(world_.lend(outgoing(r), r, 0));
  }
  for (Loan& loan : borrowed) {
    const std::span<const float> values = world_.read(loan.request);
    if (values.data() != loan.place.data()) std::ranges::copy(values, loan.place.begin());
    world_.wait(loan.request);
  }
  for (Request& request : lent) world_.wait(request);
}

double ModelTransfer::measure() {
  const Range mine = part_of(world_.rank());
  // As in a step, a rank has just written what it sends.
  const auto write = [&] {
    std::ranges::fill(part(parameters_, mine), written_ += 1);
    std::ranges::fill(gradient_, written_);
    world_.barrier();
  };
  return wall_seconds(write, [&] {
    std::span<float> rest(incoming_);
    exchange([&](std::size_t to) { return part(gradient_, part_of(to)); },
             [&](std::size_t /*from*/) {
               return std::exchange(rest, rest.subspan(mine.size())).first(mine.size());
             });
    exchange([&](std::size_t /*to*/) { return part(parameters_, mine); },
             [&](std::size_t from) { return part(parameters_, part_of(from)); });
  });
}

}  // namespace meshparity::bench
