#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "parallel/transport/comm.h"

namespace meshparity {

/// What a rank has started in the groups of one name.
struct CommCounts {
  std::size_t loans = 0;
  std::size_t lent_values = 0;
  std::size_t messages = 0;
  std::size_t collectives = 0;
};

/// A group that counts what its rank starts in it, and in all groups split from it.
class CountingComm final : public Comm {
 public:
  using Counts = std::map<std::string, CommCounts>;  // by the group's name

  /// `counted` and `counts` must outlive it.
  CountingComm(Comm& counted, Counts& counts)
      : Comm(counted.name(), counted.rank(), counted.size()), comm_(counted), counts_(counts) {}
  CountingComm(std::unique_ptr<Comm> counted, Counts& counts) : CountingComm(*counted, counts) {
    owned_ = std::move(counted);
  }

 private:
  CommCounts& counts() { return counts_[name()]; }
  Comm& collective() {
    ++counts().collectives;
    return comm_;
  }

  Request do_isend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    ++counts().messages;
    return comm_.isend(values, to, tag, site);
  }
  Request do_irecv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    return comm_.irecv(values, from, tag, site);
  }
  Request do_lend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    ++counts().loans;
    counts().lent_values += values.size();
    return comm_.lend(values, to, tag, site);
  }
  Request do_borrow(std::span<float> room, std::size_t from, int tag, CallSite site) override {
    return comm_.borrow(room, from, tag, site);
  }
  std::span<const float> do_read(Request& incoming, CallSite site) override {
    return comm_.read(incoming, site);
  }
  void do_send(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    ++counts().messages;
    comm_.send(values, to, tag, site);
  }
  void do_recv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    comm_.recv(values, from, tag, site);
  }
  void do_wait(Request& request, CallSite site) override { comm_.wait(request, site); }
  void do_broadcast(std::span<float> values, std::size_t root, CallSite site) override {
    collective().broadcast(values, root, site);
  }
  void do_all_gather(std::span<const float> mine, std::span<float> all,
                     std::span<const std::size_t> sizes, CallSite site) override {
    collective().all_gather(mine, all, sizes, site);
  }
  void do_all_to_all(std::span<const float> outgoing, std::span<const std::size_t> outgoing_sizes,
                     std::span<float> incoming, std::span<const std::size_t> incoming_sizes,
                     CallSite site) override {
    collective().all_to_all(outgoing, outgoing_sizes, incoming, incoming_sizes, site);
  }
  void do_barrier(CallSite site) override { collective().barrier(site); }
  void do_all_reduce_integers(std::span<std::uint64_t> values, CallSite site) override {
    collective().all_reduce_integers(values, site);
  }
  void do_all_reduce_maximum(std::span<float> values, CallSite site) override {
    collective().all_reduce_maximum(values, site);
  }
  void do_native_all_reduce(std::span<float> values, CallSite site) override {
    collective().native_all_reduce(values, site);
  }
  void do_native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                                std::span<const std::size_t> sizes, CallSite site) override {
    collective().native_reduce_scatter(values, mine, sizes, site);
  }
  std::unique_ptr<Comm> do_split(const std::string& name, std::size_t colour, std::size_t key,
                                 CallSite site) override {
    return std::make_unique<CountingComm>(comm_.split(name, colour, key, site), counts_);
  }

  std::unique_ptr<Comm> owned_;  // absent: somebody else's
  Comm& comm_;
  Counts& counts_;
};

}  // namespace meshparity
