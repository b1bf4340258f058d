#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "parallel/transport/call_site.h"

namespace meshparity {

/// A communication operation failed or was used wrongly.
class CommError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A non-blocking operation under way. Its buffer must stay alive and untouched until `wait`
/// returns, and it must be waited for: a request that is dropped is an error the transport reports.
class Request {
 public:
  /// What a transport keeps for one operation. It uses it again after the wait, so that operations
  /// allocate nothing, and sees from the use count that a request was dropped.
  class State {
   public:
    virtual ~State() = default;
  };

  Request() = default;
  explicit Request(std::shared_ptr<State> state) : state_(std::move(state)) {}
  Request(Request&&) noexcept = default;
  Request& operator=(Request&&) noexcept = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  bool pending() const { return state_ != nullptr; }
  State* state() const { return state_.get(); }
  void clear() { state_.reset(); }

 private:
  std::shared_ptr<State> state_;
};

/// One group of ranks as one of them sees it. Ranks are numbered 0 .. size - 1 in the group.
///
/// Every operation is collective over the group unless it names a peer. Matching is fixed by
/// construction: there is no "any source". There is no mean. A group of one rank runs the same
/// code. Sizes come from the spans; sizes that disagree throw CommError before anything is sent.
/// The spans of one call must not overlap; tags go from 0 to `max_tag`.
/// A blocking `send` may wait until the peer receives: programs must not count on buffering.
class Comm {
 public:
  static constexpr int max_tag = 32767;  ///< the largest that every MPI allows

  virtual ~Comm() = default;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  std::size_t rank() const { return rank_; }
  std::size_t size() const { return size_; }
  /// "world", "tp", ...: for messages to people.
  const std::string& name() const { return name_; }

  void send(std::span<const float> values, std::size_t to, int tag,
            CallSite site = CallSite::here());
  void recv(std::span<float> values, std::size_t from, int tag, CallSite site = CallSite::here());
  Request isend(std::span<const float> values, std::size_t to, int tag,
                CallSite site = CallSite::here());
  Request irecv(std::span<float> values, std::size_t from, int tag,
                CallSite site = CallSite::here());

  /// Lends `values` to rank `to`, who reads them in place if this transport can show them, or else
  /// a copy. They must stay as they are until `wait` returns, which is when they have been given
  /// back. To wait before giving back one's own loans from the same rank can deadlock.
  Request lend(std::span<const float> values, std::size_t to, int tag,
               CallSite site = CallSite::here());
  /// Matches a `lend`, never a `send`; `room` is for a copy. `wait` gives the loan back. Loans of
  /// one pair and tag must be given back in the order in which they were lent.
  Request borrow(std::span<float> room, std::size_t from, int tag,
                 CallSite site = CallSite::here());
  /// Blocks until the values of an irecv or borrow are there. They may be read until `wait`.
  std::span<const float> read(Request& incoming, CallSite site = CallSite::here());

  /// Returns at once for a request that is not pending.
  void wait(Request& request, CallSite site = CallSite::here());

  /// `values` of `root` arrive in everyone's `values`.
  void broadcast(std::span<float> values, std::size_t root, CallSite site = CallSite::here());

  /// Everyone's `mine`, in rank order, arrives in `all`; `counts[r]` = rank r's size.
  void all_gather(std::span<const float> mine, std::span<float> all,
                  std::span<const std::size_t> counts, CallSite site = CallSite::here());

  /// `outgoing` holds a block for each rank (`outgoing_counts`), `incoming` gets one from each.
  void all_to_all(std::span<const float> outgoing, std::span<const std::size_t> outgoing_counts,
                  std::span<float> incoming, std::span<const std::size_t> incoming_counts,
                  CallSite site = CallSite::here());

  void barrier(CallSite site = CallSite::here());

  /// Element-wise sum modulo 2^64, the result everywhere. Any order is right.
  void all_reduce_integers(std::span<std::uint64_t> values, CallSite site = CallSite::here());

  /// Element-wise maximum, the result everywhere, exact in any order: -0 is below +0, and a NaN
  /// above everything. A rank that has nothing to say gives -infinity.
  void all_reduce_maximum(std::span<float> values, CallSite site = CallSite::here());

  /// Element-wise float sum in the transport's own order: not reproducible.
  void native_all_reduce(std::span<float> values, CallSite site = CallSite::here());

  /// The same, rank r keeping only its part (`counts[r]` elements) in `mine`.
  void native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                             std::span<const std::size_t> counts, CallSite site = CallSite::here());

  /// New groups: ranks of one colour together, ordered by (key, old rank).
  std::unique_ptr<Comm> split(const std::string& name, std::size_t colour, std::size_t key,
                              CallSite site = CallSite::here());

 protected:
  Comm(std::string name, std::size_t rank, std::size_t size)
      : name_(std::move(name)), rank_(rank), size_(size) {}

 private:
  virtual Request do_isend(std::span<const float> values, std::size_t to, int tag,
                           CallSite site) = 0;
  virtual Request do_irecv(std::span<float> values, std::size_t from, int tag, CallSite site) = 0;
  virtual Request do_lend(std::span<const float> values, std::size_t to, int tag,
                          CallSite site) = 0;
  virtual Request do_borrow(std::span<float> room, std::size_t from, int tag, CallSite site) = 0;
  virtual std::span<const float> do_read(Request& incoming, CallSite site) = 0;
  virtual void do_send(std::span<const float> values, std::size_t to, int tag, CallSite site) = 0;
  virtual void do_recv(std::span<float> values, std::size_t from, int tag, CallSite site) = 0;
  virtual void do_wait(Request& request, CallSite site) = 0;
  virtual void do_broadcast(std::span<float> values, std::size_t root, CallSite site) = 0;
  virtual void do_all_gather(std::span<const float> mine, std::span<float> all,
                             std::span<const std::size_t> counts, CallSite site) = 0;
  virtual void do_all_to_all(std::span<const float> outgoing,
                             std::span<const std::size_t> outgoing_counts,
                             std::span<float> incoming,
                             std::span<const std::size_t> incoming_counts, CallSite site) = 0;
  virtual void do_barrier(CallSite site) = 0;
  virtual void do_all_reduce_integers(std::span<std::uint64_t> values, CallSite site) = 0;
  virtual void do_all_reduce_maximum(std::span<float> values, CallSite site) = 0;
  virtual void do_native_all_reduce(std::span<float> values, CallSite site) = 0;
  virtual void do_native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                                        std::span<const std::size_t> counts, CallSite site) = 0;
  virtual std::unique_ptr<Comm> do_split(const std::string& name, std::size_t colour,
                                         std::size_t key, CallSite site) = 0;

  std::string name_;
  std::size_t rank_;
  std::size_t size_;
};

}  // namespace meshparity
