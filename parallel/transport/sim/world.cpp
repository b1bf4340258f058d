#include "parallel/transport/sim/world.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "model/numerics/floating_point.h"
#include "model/numerics/philox.h"

namespace meshparity::sim {

void Mailbox::Queue::push(Transfer& transfer) {
  transfer.next = nullptr;
  (last == nullptr ? first : last->next) = &transfer;
  last = &transfer;
}

Transfer* Mailbox::Queue::take_partner_of(const Transfer& other) {
  Transfer* before = nullptr;
  for (Transfer* transfer = first; transfer != nullptr; transfer = transfer->next) {
    if (transfer->owner == other.peer && transfer->peer == other.owner &&
        transfer->tag == other.tag && transfer->lent == other.lent) {
      (before == nullptr ? first : before->next) = transfer->next;
      if (last == transfer) last = before;
      return transfer;
    }
    before = transfer;
  }
  return nullptr;
}

Group::Group(World* its_world, std::string its_name, std::vector<std::size_t> its_members)
    : world(its_world),
      name(std::move(its_name)),
      members(std::move(its_members)),
      mailboxes(members.size()),
      calls(members.size()) {}

void Transfer::happen() { world->complete(*this); }
void Group::happen() { world->complete(*this); }

World::World(const SimOptions& options)
    : options_(options),
      random_(options.seed),
      scheduler_(options, random_, [this] { stalled(); }),
      mover_(options.ranks),
      ranks_(options.ranks),
      reporter_(options_, ranks_) {
  std::vector<std::size_t> everyone(options.ranks);
  for (std::size_t rank = 0; rank < options.ranks; ++rank) everyone[rank] = rank;
  groups_.push_back(std::make_unique<Group>(this, "world", std::move(everyone)));
}

void World::run(const RankBody& body) {
  scheduler_.run([&](std::size_t rank) { run_rank(rank, body); });
  if (failure_) std::rethrow_exception(failure_);
  if (reporter_.any_death()) throw reporter_.death();
  if (reporter_.any_leak()) throw reporter_.leak();
}

void World::run_rank(std::size_t rank, const RankBody& body) {
  try {
    set_floating_point_environment();  // fibers have their own
    if (!scheduler_.stopped()) body(*groups_.front(), rank);
    check_floating_point_environment();
    if (ranks_[rank].status != RankState::Status::dead) {
      ranks_[rank].status = RankState::Status::finished;
    }
  } catch (const Unwound&) {
  } catch (...) {
    // What ranks throw while they are being unwound follows from the first error.
    if (!scheduler_.stopped() && ranks_[rank].status != RankState::Status::dead) {
      failure_ = std::current_exception();
      scheduler_.stop();
    }
  }
}

void World::begin(std::size_t rank, const char* operation, const Group& group, CallSite site) {
  scheduler_.throw_if_stopped();
  RankState& state = ranks_[rank];
  state.operation = operation;
  state.group = &group;
  state.site = site;
  if (options_.death && options_.death->rank == rank &&
      options_.death->operation == state.operations) {
    state.status = RankState::Status::dead;
    throw Unwound{};
  }
  ++state.operations;
  scheduler_.pause(rank);
}

void World::block(std::size_t rank, const Transfer* on) {
  RankState& state = ranks_[rank];
  state.status = RankState::Status::blocked;
  state.transfer = on;
  scheduler_.block(rank);
  state.status = RankState::Status::runs;
}

Transfer& World::start_send(const char* operation, Group& group, std::size_t rank,
                            std::span<const float> source, std::size_t to, int tag, CallSite site,
                            bool lent) {
  Transfer& send = new_transfer(operation, group, rank, to, tag, site, lent);
  send.sends = true;
  send.source = source.data();
  send.size = source.size();
  Mailbox& mailbox = group.mailboxes[to];
  if (Transfer* receive = mailbox.receives.take_partner_of(send)) {
    match(send, *receive);
  } else {
    mailbox.sends.push(send);
  }
  return send;
}

Transfer& World::start_receive(const char* operation, Group& group, std::size_t rank,
                               std::span<float> target, std::size_t from, int tag, CallSite site,
                               bool lent) {
  Transfer& receive = new_transfer(operation, group, rank, from, tag, site, lent);
  receive.sends = false;
  receive.target = target.data();
  receive.size = target.size();
  // A rank that reads the buffer before the data has arrived shall get NaN.
  std::ranges::fill(target, std::numeric_limits<float>::quiet_NaN());
  Mailbox& mailbox = group.mailboxes[rank];
  if (Transfer* send = mailbox.sends.take_partner_of(receive)) {
    match(*send, receive);
  } else {
    mailbox.receives.push(receive);
  }
  return receive;
}

Transfer& World::new_transfer(const char* operation, Group& group, std::size_t rank,
                              std::size_t peer, int tag, CallSite site, bool lent) {
  const std::size_t owner = group.members[rank];
  begin(owner, operation, group, site);
  RankState& state = ranks_[owner];
  if (state.free == nullptr) {
    state.transfers.push_back(std::make_shared<Transfer>(this));
    state.free = state.transfers.back().get();
    state.free->slot = state.transfers.size() - 1;
    scheduler_.reserve_events(std::bit_ceil(++transfers_ + groups_.size()));
  }
  Transfer& transfer = *std::exchange(state.free, state.free->next);
  transfer.operation = operation;
  transfer.group = &group;
  transfer.owner = owner;
  transfer.peer = group.members[peer];
  transfer.tag = tag;
  transfer.site = site;
  transfer.lent = lent;
  transfer.partner = nullptr;
  transfer.has_request = false;
  transfer.active = true;
  transfer.complete = false;
  transfer.awaited = false;
  return transfer;
}

void World::match(Transfer& send, Transfer& receive) {
  send.partner = &receive;
  receive.partner = &send;
  if (send.size != receive.size) {
    fail(reporter_.mismatch(send, receive));
    throw Unwound{};
  }
  scheduler_.schedule(send, random_.up_to(options_.max_delay));
}

void World::complete(Transfer& send) {
  Transfer& receive = *send.partner;
  const RankState& sender = ranks_[send.owner];
  const RankState& receiver = ranks_[receive.owner];
  // The buffers of a dead rank are gone, and so is its message.
  constexpr auto dead = RankState::Status::dead;
  if (sender.status == dead || receiver.status == dead) return;
  if (abandoned(send, sender) || abandoned(receive, receiver)) return fail(reporter_.leak());
  // Some transports let a borrower read in place, others copy. Where a rank is to die, all are
  // copies, as its memory goes with it.
  const bool moves = !send.lent || options_.death.has_value() ||
                     options_.loans == SimOptions::Loans::copied ||
                     (options_.loans == SimOptions::Loans::either && random_.up_to(1) == 0);
  if (moves) std::copy_n(send.source, send.size, receive.target);
  receive.source = moves ? receive.target : send.source;
  complete_side(receive);
  if (!send.lent) complete_side(send);
}

void World::complete_side(Transfer& side) {
  side.complete = true;
  if (side.awaited) scheduler_.wake(side.owner);
}

Request World::request_for(Transfer& transfer) {
  transfer.has_request = true;
  return Request(ranks_[transfer.owner].transfers[transfer.slot]);
}

Transfer& World::transfer_of(const char* operation, Request& request, const Group& group,
                             std::size_t rank, CallSite site) {
  auto* transfer = dynamic_cast<Transfer*>(request.state());
  if (transfer == nullptr || transfer->world != this || transfer->owner != group.members[rank]) {
    throw CommError(std::string(operation) + " on rank " + std::to_string(rank) + " of group " +
                    group.name + ", called at " + to_string(site) +
                    ": the request belongs to another rank or another world");
  }
  begin(transfer->owner, operation, *transfer->group, site);
  return *transfer;
}

void World::wait(Request& request, const Group& group, std::size_t rank, CallSite site) {
  finish(transfer_of("wait", request, group, rank, site));
  request.clear();
}

std::span<const float> World::read(Request& request, const Group& group, std::size_t rank,
                                   CallSite site) {
  Transfer& receive = transfer_of("read", request, group, rank, site);
  if (receive.sends) {
    throw CommError("read on rank " + std::to_string(rank) + " of group " + group.name +
                    ", called at " + to_string(site) + ": the request is that of a " +
                    receive.operation);
  }
  wait_until_complete(receive);
  if (abandoned(*receive.partner, ranks_[receive.partner->owner])) {
    fail(reporter_.leak());
    throw Unwound{};
  }
  return {receive.source, receive.size};
}

void World::wait_until_complete(Transfer& transfer) {
  if (transfer.complete) return;
  transfer.awaited = true;
  block(transfer.owner, &transfer);
  transfer.awaited = false;
}

void World::finish(Transfer& transfer) {
  wait_until_complete(transfer);
  const bool gives_back = transfer.lent && !transfer.sends;
  if (gives_back) complete_side(*transfer.partner);
  RankState& owner = ranks_[transfer.owner];
  transfer.active = false;
  transfer.next = std::exchange(owner.free, &transfer);
  // What was lent may change from now on: a rank that goes on reading it shall see that.
  if (gives_back) scheduler_.pause(transfer.owner);
}

const CollectiveCall& World::collective(Group& group, std::size_t rank,
                                        const CollectiveCall& call) {
  begin(group.members[rank], name_of(call.kind), group, call.site);
  group.calls[rank] = call;
  group.calls[rank].arrived = true;
  if (++group.arrived == group.members.size()) {
    if (const auto what = disagreement(group.calls, group.members)) {
      fail(reporter_.mismatch(group, *what));
      throw Unwound{};
    }
    scheduler_.schedule(group, random_.up_to(options_.max_delay));
  }
  block(group.members[rank], nullptr);
  return group.calls[rank];
}

std::uint64_t World::order_seed(const Group& group) const {
  // Groups of one name and size draw the same order for their n-th sum, as in an implementation
  // that chooses by size. Otherwise copies of a tensor that several groups reduce would drift
  // apart.
  return options_.seed + coordinate_of(group.name) + group.collectives * 0x9E3779B97F4A7C15ULL;
}

void World::complete(Group& group) {
  if (group.calls.front().kind == Collective::split) {
    make_groups(group);
  } else {
    mover_.move(group.calls, order_seed(group));
    ++group.collectives;
  }
  group.arrived = 0;
  for (std::size_t member = 0; member < group.members.size(); ++member) {
    group.calls[member].arrived = false;
    scheduler_.wake(group.members[member]);
  }
}

void World::make_groups(Group& group) {
  std::vector<std::size_t> order(group.members.size());  // members by (colour, key, rank)
  for (std::size_t member = 0; member < order.size(); ++member) order[member] = member;
  std::ranges::stable_sort(order, {}, [&](std::size_t member) {
    return std::pair(group.calls[member].colour, group.calls[member].key);
  });
  for (std::size_t begin = 0; begin < order.size();) {
    const CollectiveCall& first = group.calls[order[begin]];
    std::size_t end = begin;
    std::vector<std::size_t> members;
    for (; end < order.size() && group.calls[order[end]].colour == first.colour; ++end) {
      members.push_back(group.members[order[end]]);
    }
    groups_.push_back(std::make_unique<Group>(this, *first.name, std::move(members)));
    for (std::size_t i = begin; i < end; ++i) {
      group.calls[order[i]].new_group = groups_.back().get();
      group.calls[order[i]].new_rank = i - begin;
    }
    begin = end;
  }
  scheduler_.reserve_events(std::bit_ceil(transfers_ + groups_.size()));
}

void World::stalled() {
  for (const auto& group : groups_) {
    if (reporter_.any_death()) break;
    if (const auto what = disagreement(group->calls, group->members)) {
      return fail(reporter_.mismatch(*group, *what));
    }
  }
  fail(reporter_.stall());
}

void World::fail(const SimFailure& failure) {
  failure_ = std::make_exception_ptr(failure);
  scheduler_.stop();
}

}  // namespace meshparity::sim
