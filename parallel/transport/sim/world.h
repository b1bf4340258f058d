#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "parallel/transport/comm.h"
#include "parallel/transport/sim/collective.h"
#include "parallel/transport/sim/comm_sim.h"
#include "parallel/transport/sim/scheduler.h"

namespace meshparity::sim {

class World;

/// A send or a receive from its call until its wait has returned.
struct Transfer final : Request::State, Event {
  explicit Transfer(World* its_world) : world(its_world) {}
  void happen() override;  // on the sender's side, for both

  World* world;
  const char* operation = "";
  const Group* group = nullptr;
  std::size_t owner = 0;  // world ranks
  std::size_t peer = 0;
  int tag = 0;
  bool sends = false;
  bool lent = false;              // the sender is done when the receiver has given it back
  const float* source = nullptr;  // of a send; of a receive, where its values have arrived
  float* target = nullptr;        // of a receive
  std::size_t size = 0;
  CallSite site;
  std::size_t slot = 0;         // where its owner keeps it
  bool has_request = false;     // rather than a caller that blocks until it is over
  bool active = false;          // between the call and the end of the wait
  bool complete = false;        // the data has moved, or has been given back
  bool awaited = false;         // its owner blocks on it
  Transfer* partner = nullptr;  // the other side, once matched
  Transfer* next = nullptr;     // in a mailbox or among the free ones
};

/// Transfers to one member that have no partner yet, oldest first.
struct Mailbox {
  struct Queue {
    Transfer* first = nullptr;
    Transfer* last = nullptr;

    void push(Transfer& transfer);
    /// Takes out the oldest transfer that fits `other`: the two ends and the tag agree.
    Transfer* take_partner_of(const Transfer& other);
  };
  Queue sends;
  Queue receives;
};

struct Group final : Event {
  Group(World* its_world, std::string its_name, std::vector<std::size_t> its_members);
  void happen() override;  // the collective operation for which everyone has arrived

  World* world;
  std::string name;
  std::vector<std::size_t> members;  // world ranks, in group order
  std::vector<Mailbox> mailboxes;
  std::vector<CollectiveCall> calls;
  std::size_t arrived = 0;
  std::size_t collectives = 0;  // completed
};

/// What a rank does, or did last.
struct RankState {
  enum class Status { runs, blocked, finished, dead };
  Status status = Status::runs;
  std::size_t operations = 0;  // started so far
  const char* operation = "";
  const Group* group = nullptr;
  CallSite site;
  const Transfer* transfer = nullptr;  // what it blocks on, or null in a collective operation
  std::vector<std::shared_ptr<Transfer>> transfers;
  Transfer* free = nullptr;
};

/// True if nobody can wait for this transfer any more: its buffer may be gone.
bool abandoned(const Transfer& transfer, const RankState& owner);

/// Who waits for whom, in words.
class Reporter {
 public:
  Reporter(const SimOptions& options, const std::vector<RankState>& ranks)
      : options_(options), ranks_(ranks) {}

  /// No rank can go on: a deadlock, or the death of the rank that the others wait for.
  SimFailure stall() const;
  SimFailure mismatch(const Group& group, const std::string& what) const;
  SimFailure mismatch(const Transfer& send, const Transfer& receive) const;
  SimFailure leak() const;
  SimFailure death() const;
  bool any_leak() const;
  bool any_death() const;

 private:
  struct Entry {
    std::size_t rank = 0;
    std::string text;             // of its line in the report
    std::optional<SimWait> wait;  // none for a rank that is gone
  };

  SimFailure failure(SimFailure::Kind kind, const std::string& what,
                     std::vector<Entry> entries) const;
  Entry of_rank(std::size_t rank) const;
  Entry of_transfer(const Transfer& transfer) const;
  Entry of_wait(const RankState& state) const;
  Entry of_collective(const Group& group, std::size_t member) const;
  std::vector<Entry> of_all_ranks() const;
  void append_leaks(std::vector<Entry>& entries) const;
  std::string peer_of(const Transfer& transfer) const;
  std::string with_fate(std::size_t rank) const;

  const SimOptions& options_;
  const std::vector<RankState>& ranks_;
};

/// All that the ranks of a simulated world share.
class World {
 public:
  /// What a rank runs, as member `rank` of the group of all ranks.
  using RankBody = std::function<void(Group& everyone, std::size_t rank)>;

  explicit World(const SimOptions& options);
  /// Runs `body` on every rank and throws what stopped the world, if anything did.
  void run(const RankBody& body);

  /// Starts a send (`source`) or a receive (`target`) of member `rank` of `group`; the transfer is
  /// recycled by `finish`.
  Transfer& start_send(const char* operation, Group& group, std::size_t rank,
                       std::span<const float> source, std::size_t to, int tag, CallSite site,
                       bool lent = false);
  Transfer& start_receive(const char* operation, Group& group, std::size_t rank,
                          std::span<float> target, std::size_t from, int tag, CallSite site,
                          bool lent = false);
  /// The handle that a rank gets for a transfer it will wait for.
  Request request_for(Transfer& transfer);
  void wait(Request& request, const Group& group, std::size_t rank, CallSite site);
  /// Blocks until a receive is complete: its values, which are there until its wait.
  std::span<const float> read(Request& request, const Group& group, std::size_t rank,
                              CallSite site);
  /// Blocks until `transfer` is complete, then recycles it.
  void finish(Transfer& transfer);

  /// Takes part in a collective operation; returns this member's call with its results.
  const CollectiveCall& collective(Group& group, std::size_t rank, const CollectiveCall& call);

 private:
  friend struct Transfer;
  friend struct Group;

  void run_rank(std::size_t rank, const RankBody& body);
  void begin(std::size_t rank, const char* operation, const Group& group, CallSite site);
  void block(std::size_t rank, const Transfer* on);
  Transfer& new_transfer(const char* operation, Group& group, std::size_t rank, std::size_t peer,
                         int tag, CallSite site, bool lent);
  Transfer& transfer_of(const char* operation, Request& request, const Group& group,
                        std::size_t rank, CallSite site);
  void wait_until_complete(Transfer& transfer);
  void match(Transfer& send, Transfer& receive);
  void complete(Transfer& send);
  void complete_side(Transfer& side);
  void complete(Group& group);
  std::uint64_t order_seed(const Group& group) const;
  void make_groups(Group& group);
  void stalled();
  void fail(const SimFailure& failure);

  SimOptions options_;
  Random random_;
  Scheduler scheduler_;
  CollectiveMover mover_;
  std::vector<RankState> ranks_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::size_t transfers_ = 0;
  Reporter reporter_;
  std::exception_ptr failure_;
};

}  // namespace meshparity::sim
