#include "parallel/transport/comm.h"

#include <functional>
#include <limits>
#include <string_view>

namespace meshparity {
namespace {

/// The checks of one operation's arguments; each message says who called what, where.
class Check {
 public:
  Check(const Comm& comm, const char* operation, CallSite site)
      : comm_(comm), operation_(operation), site_(site) {}

  [[noreturn]] void fail(const std::string& reason) const {
    throw CommError(std::string(operation_) + " on rank " + std::to_string(comm_.rank()) +
                    " of group " + comm_.name() + " (" + std::to_string(comm_.size()) +
                    " ranks), called at " + to_string(site_) + ": " + reason);
  }

  void peer(std::size_t rank, const char* role) const {
    if (rank >= comm_.size())
      fail(std::string(role) + " rank " + std::to_string(rank) + " is not in the group");
  }

  void tag(int value) const {
    if (value < 0 || value > Comm::max_tag) {
      fail("tag " + std::to_string(value) + " is not in 0.." + std::to_string(Comm::max_tag));
    }
  }

  /// One count for each rank, which add up to `size`.
  void counts(std::span<const std::size_t> values, const char* what, std::size_t size) const {
    if (values.size() != comm_.size()) {
      fail(std::to_string(values.size()) + " " + what + " counts for " +
           std::to_string(comm_.size()) + " ranks");
    }
    std::size_t total = 0;
    for (const std::size_t count : values) {
      if (count > std::numeric_limits<std::size_t>::max() - total) {
        fail(std::string(what) + " counts overflow at " + std::to_string(count));
      }
      total += count;
    }
    if (total != size) {
      fail(std::string(what) + " counts add up to " + std::to_string(total) +
           ", but the span has " + std::to_string(size) + " values");
    }
  }

  void own_count(std::span<const std::size_t> values, std::size_t size) const {
    if (values[comm_.rank()] != size) {
      fail("the count of this rank is " + std::to_string(values[comm_.rank()]) +
           ", but its span has " + std::to_string(size) + " values");
    }
  }

  void apart(std::span<const float> a, std::span<const float> b) const {
    // std::less orders pointers into different arrays; the built-in < need not.
    const std::less<> before;
    if (!a.empty() && !b.empty() && before(a.data(), b.data() + b.size()) &&
        before(b.data(), a.data() + a.size())) {
      fail("its input (" + std::to_string(a.size()) + " values) and its output (" +
           std::to_string(b.size()) + " values) overlap");
    }
  }

 private:
  const Comm& comm_;
  const char* operation_;
  CallSite site_;
};

}  // namespace

void Comm::send(std::span<const float> values, std::size_t to, int tag, CallSite site) {
  const Check check(*this, "send", site);
  check.peer(to, "destination");
  check.tag(tag);
  do_send(values, to, tag, site);
}

void Comm::recv(std::span<float> values, std::size_t from, int tag, CallSite site) {
  const Check check(*this, "recv", site);
  check.peer(from, "source");
  check.tag(tag);
  do_recv(values, from, tag, site);
}

Request Comm::isend(std::span<const float> values, std::size_t to, int tag, CallSite site) {
  const Check check(*this, "isend", site);
  check.peer(to, "destination");
  check.tag(tag);
  return do_isend(values, to, tag, site);
}

Request Comm::irecv(std::span<float> values, std::size_t from, int tag, CallSite site) {
  const Check check(*this, "irecv", site);
  check.peer(from, "source");
  check.tag(tag);
  return do_irecv(values, from, tag, site);
}

Request Comm::lend(std::span<const float> values, std::size_t to, int tag, CallSite site) {
  const Check check(*this, "lend", site);
  check.peer(to, "destination");
  check.tag(tag);
  return do_lend(values, to, tag, site);
}

Request Comm::borrow(std::span<float> room, std::size_t from, int tag, CallSite site) {
  const Check check(*this, "borrow", site);
  check.peer(from, "source");
  check.tag(tag);
  return do_borrow(room, from, tag, site);
}

std::span<const float> Comm::read(Request& incoming, CallSite site) {
  if (!incoming.pending()) Check(*this, "read", site).fail("the request is not pending");
  return do_read(incoming, site);
}

void Comm::wait(Request& request, CallSite site) {
  if (request.pending()) do_wait(request, site);
}

void Comm::broadcast(std::span<float> values, std::size_t root, CallSite site) {
  Check(*this, "broadcast", site).peer(root, "root");
  do_broadcast(values, root, site);
}

void Comm::all_gather(std::span<const float> mine, std::span<float> all,
                      std::span<const std::size_t> counts, CallSite site) {
  const Check check(*this, "all_gather", site);
  check.counts(counts, "gathered", all.size());
  check.own_count(counts, mine.size());
  check.apart(mine, all);
  do_all_gather(mine, all, counts, site);
}

void Comm::all_to_all(std::span<const float> outgoing, std::span<const std::size_t> outgoing_counts,
                      std::span<float> incoming, std::span<const std::size_t> incoming_counts,
                      CallSite site) {
  const Check check(*this, "all_to_all", site);
  check.counts(outgoing_counts, "outgoing", outgoing.size());
  check.counts(incoming_counts, "incoming", incoming.size());
  if (outgoing_counts[rank_] != incoming_counts[rank_]) {
    check.fail("sends itself " + std::to_string(outgoing_counts[rank_]) + " values but expects " +
               std::to_string(incoming_counts[rank_]));
  }
  check.apart(outgoing, incoming);
  do_all_to_all(outgoing, outgoing_counts, incoming, incoming_counts, site);
}

void Comm::barrier(CallSite site) { do_barrier(site); }

void Comm::all_reduce_integers(std::span<std::uint64_t> values, CallSite site) {
  do_all_reduce_integers(values, site);
}

void Comm::all_reduce_maximum(std::span<float> values, CallSite site) {
  do_all_reduce_maximum(values, site);
}

void Comm::native_all_reduce(std::span<float> values, CallSite site) {
  do_native_all_reduce(values, site);
}

void Comm::native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                                 std::span<const std::size_t> counts, CallSite site) {
  const Check check(*this, "native_reduce_scatter", site);
  check.counts(counts, "scattered", values.size());
  check.own_count(counts, mine.size());
  check.apart(values, mine);
  do_native_reduce_scatter(values, mine, counts, site);
}

std::unique_ptr<Comm> Comm::split(const std::string& name, std::size_t colour, std::size_t key,
                                  CallSite site) {
  return do_split(name, colour, key, site);
}

}  // namespace meshparity
