#include "parallel/transport/sim/comm_sim.h"

#include "parallel/transport/sim/world.h"

namespace meshparity {
namespace {

using sim::Collective;
using sim::CollectiveCall;
using sim::Group;
using sim::World;

/// A group of a simulated world as one of its ranks sees it.
class SimComm final : public Comm {
 public:
  SimComm(World& world, Group& group, std::size_t rank)
      : Comm(group.name, rank, group.members.size()), world_(world), group_(group) {}

 private:
  Request do_isend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    return world_.request_for(world_.start_send("isend", group_, rank(), values, to, tag, site));
  }

  Request do_irecv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    return world_.request_for(
        world_.start_receive("irecv", group_, rank(), values, from, tag, site));
  }

  Request do_lend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    return world_.request_for(
        world_.start_send("lend", group_, rank(), values, to, tag, site, true));
  }

  Request do_borrow(std::span<float> room, std::size_t from, int tag, CallSite site) override {
    return world_.request_for(
        world_.start_receive("borrow", group_, rank(), room, from, tag, site, true));
  }

  std::span<const float> do_read(Request& incoming, CallSite site) override {
    return world_.read(incoming, group_, rank(), site);
  }

  void do_send(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    world_.finish(world_.start_send("send", group_, rank(), values, to, tag, site));
  }

  void do_recv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    world_.finish(world_.start_receive("recv", group_, rank(), values, from, tag, site));
  }

  void do_wait(Request& request, CallSite site) override {
    world_.wait(request, group_, rank(), site);
  }

  void do_broadcast(std::span<float> values, std::size_t root, CallSite site) override {
    collective({.kind = Collective::broadcast, .site = site, .root = root, .output = values});
  }

  void do_all_gather(std::span<const float> mine, std::span<float> all,
                     std::span<const std::size_t> counts, CallSite site) override {
    collective({.kind = Collective::all_gather,
                .site = site,
                .input = mine,
                .output = all,
                .counts = counts});
  }

  void do_all_to_all(std::span<const float> outgoing, std::span<const std::size_t> outgoing_counts,
                     std::span<float> incoming, std::span<const std::size_t> incoming_counts,
                     CallSite site) override {
    collective({.kind = Collective::all_to_all,
                .site = site,
                .input = outgoing,
                .output = incoming,
                .counts = outgoing_counts,
                .incoming_counts = incoming_counts});
  }

  void do_barrier(CallSite site) override {
    collective({.kind = Collective::barrier, .site = site});
  }

  void do_all_reduce_integers(std::span<std::uint64_t> values, CallSite site) override {
    collective({.kind = Collective::all_reduce_integers, .site = site, .integers = values});
  }

  void do_all_reduce_maximum(std::span<float> values, CallSite site) override {
    collective({.kind = Collective::all_reduce_maximum, .site = site, .output = values});
  }

  void do_native_all_reduce(std::span<float> values, CallSite site) override {
    collective({.kind = Collective::native_all_reduce, .site = site, .output = values});
  }

  void do_native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                                std::span<const std::size_t> counts, CallSite site) override {
    collective({.kind = Collective::native_reduce_scatter,
                .site = site,
                .input = values,
                .output = mine,
                .counts = counts});
  }

  std::unique_ptr<Comm> do_split(const std::string& name, std::size_t colour, std::size_t key,
                                 CallSite site) override {
    const CollectiveCall& made = collective(
        {.kind = Collective::split, .site = site, .name = &name, .colour = colour, .key = key});
    return std::make_unique<SimComm>(world_, *made.new_group, made.new_rank);
  }

  const CollectiveCall& collective(const CollectiveCall& call) {
    return world_.collective(group_, rank(), call);
  }

  World& world_;
  Group& group_;
};

}  // namespace

void run_simulated(const SimOptions& options, const std::function<void(Comm& world)>& body) {
  if (options.ranks == 0) throw CommError("a simulated world needs at least one rank, not 0");
  if (options.death && options.death->rank >= options.ranks) {
    throw CommError("rank " + std::to_string(options.death->rank) +
                    ", which is to die, is not in a simulated world of " +
                    std::to_string(options.ranks));
  }
  World world(options);
  world.run([&](Group& everyone, std::size_t rank) {
    SimComm comm(world, everyone, rank);
    body(comm);
  });
}

}  // namespace meshparity
