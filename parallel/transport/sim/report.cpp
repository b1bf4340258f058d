#include <algorithm>
#include <utility>

#include "parallel/transport/sim/world.h"

namespace meshparity::sim {
namespace {

/// "{0, 2}", "{0-255}": three or more in a row become a range.
std::string list_of(std::span<const std::size_t> ranks) {
  std::string text = "{";
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (last < i + 2) last = i;
    if (i > 0) text += ", ";
    text += std::to_string(ranks[i]);
    if (last > i) text += "-" + std::to_string(ranks[last]);
    i = last + 1;
  }
  return text + "}";
}

std::string name_and_members(const Group& group) {
  return group.name + " " + list_of(group.members);
}

std::string in_group_at(const Group& group, const CallSite& site) {
  return " in group " + name_and_members(group) + ", called at " + to_string(site);
}

std::string count(std::size_t number, const char* noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

const char* title_of(SimFailure::Kind kind) {
  switch (kind) {
    case SimFailure::Kind::deadlock:
      return "deadlock";
    case SimFailure::Kind::mismatch:
      return "mismatch";
    case SimFailure::Kind::leaked_message:
      return "leaked message";
    case SimFailure::Kind::rank_died:
      break;
  }
  return "death of a rank";
}

}  // namespace

bool abandoned(const Transfer& transfer, const RankState& owner) {
  if (!transfer.active || owner.status == RankState::Status::dead) return false;
  // The owner's list holds one reference, the request the other.
  const bool dropped = transfer.has_request && owner.transfers[transfer.slot].use_count() == 1;
  return dropped || owner.status == RankState::Status::finished;
}

SimFailure Reporter::stall() const {
  std::vector<Entry> entries = of_all_ranks();
  append_leaks(entries);
  const auto kind = any_death() ? SimFailure::Kind::rank_died : SimFailure::Kind::deadlock;
  return failure(kind, "no rank can go on", std::move(entries));
}

SimFailure Reporter::mismatch(const Group& group, const std::string& what) const {
  std::vector<Entry> entries;
  for (std::size_t member = 0; member < group.members.size(); ++member) {
    entries.push_back(group.calls[member].arrived ? of_collective(group, member)
                                                  : of_rank(group.members[member]));
  }
  return failure(SimFailure::Kind::mismatch,
                 "the ranks of group " + name_and_members(group) + " disagree on " + what,
                 std::move(entries));
}

SimFailure Reporter::mismatch(const Transfer& send, const Transfer& receive) const {
  return failure(SimFailure::Kind::mismatch,
                 "rank " + std::to_string(send.owner) + " sends " + count(send.size, "value") +
                     " and rank " + std::to_string(receive.owner) + " receives " +
                     count(receive.size, "value"),
                 {of_transfer(send), of_transfer(receive)});
}

SimFailure Reporter::leak() const {
  std::vector<Entry> entries;
  append_leaks(entries);
  const std::string what = count(entries.size(), "request") + " nobody waited for";
  return failure(SimFailure::Kind::leaked_message, what, std::move(entries));
}

SimFailure Reporter::death() const {
  return failure(SimFailure::Kind::rank_died, "the other ranks did without it", of_all_ranks());
}

bool Reporter::any_leak() const {
  return std::ranges::any_of(ranks_, [](const RankState& state) {
    return std::ranges::any_of(state.transfers,
                               [&](const auto& transfer) { return abandoned(*transfer, state); });
  });
}

bool Reporter::any_death() const {
  return std::ranges::any_of(
      ranks_, [](const RankState& state) { return state.status == RankState::Status::dead; });
}

SimFailure Reporter::failure(SimFailure::Kind kind, const std::string& what,
                             std::vector<Entry> entries) const {
  std::string report = std::string(title_of(kind)) + " in a simulated world of " +
                       count(options_.ranks, "rank") + " (seed " + std::to_string(options_.seed) +
                       "): " + what;
  std::vector<SimWait> waits;
  for (Entry& entry : entries) {
    report += "\n  rank " + std::to_string(entry.rank) + ": " + entry.text;
    if (entry.wait) waits.push_back(std::move(*entry.wait));
  }
  return {kind, report, std::move(waits)};
}

Reporter::Entry Reporter::of_rank(std::size_t rank) const {
  const RankState& state = ranks_[rank];
  if (state.status == RankState::Status::finished) return {rank, "has finished", std::nullopt};
  if (state.status == RankState::Status::dead) {
    return {rank,
            "died before its operation " + std::to_string(state.operations) + ", " +
                state.operation + in_group_at(*state.group, state.site),
            std::nullopt};
  }
  if (state.transfer == nullptr) {
    const auto& members = state.group->members;
    const auto member = std::ranges::find(members, rank) - members.begin();
    return of_collective(*state.group, static_cast<std::size_t>(member));
  }
  return state.transfer->has_request ? of_wait(state) : of_transfer(*state.transfer);
}

Reporter::Entry Reporter::of_transfer(const Transfer& transfer) const {
  return {transfer.owner,
          std::string(transfer.operation) + peer_of(transfer) +
              in_group_at(*transfer.group, transfer.site),
          SimWait{transfer.owner, transfer.operation, name_and_members(*transfer.group),
                  with_fate(transfer.peer) + " (tag " + std::to_string(transfer.tag) + ")",
                  transfer.site}};
}

Reporter::Entry Reporter::of_wait(const RankState& state) const {
  const Transfer& transfer = *state.transfer;
  Entry entry = of_transfer(transfer);
  entry.text = "wait for " + entry.text + ", waited for at " + to_string(state.site);
  entry.wait->operation = "wait";
  entry.wait->waits_for +=
      ", " + std::string(transfer.operation) + " called at " + to_string(transfer.site);
  entry.wait->site = state.site;
  return entry;
}

Reporter::Entry Reporter::of_collective(const Group& group, std::size_t member) const {
  const CollectiveCall& call = group.calls[member];
  std::string absent;
  for (std::size_t other = 0; other < group.members.size(); ++other) {
    if (group.calls[other].arrived) continue;
    absent += (absent.empty() ? "" : ", ") + with_fate(group.members[other]);
  }
  const std::size_t rank = group.members[member];
  return {rank,
          describe(call, group.members) + (absent.empty() ? "" : ", waits for " + absent + ",") +
              in_group_at(group, call.site),
          SimWait{rank, name_of(call.kind), name_and_members(group), absent, call.site}};
}

std::vector<Reporter::Entry> Reporter::of_all_ranks() const {
  std::vector<Entry> entries;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) entries.push_back(of_rank(rank));
  return entries;
}

void Reporter::append_leaks(std::vector<Entry>& entries) const {
  for (const RankState& state : ranks_) {
    for (const auto& transfer : state.transfers) {
      if (!abandoned(*transfer, state)) continue;
      Entry entry = of_transfer(*transfer);
      entry.text += ", never waited for";
      if (transfer->partner == nullptr && !transfer->complete) {
        entry.text += transfer->sends ? " and never received" : " and never sent";
      }
      entries.push_back(std::move(entry));
    }
  }
}

/// " to rank 1, which has finished (tag 3, 5 values)"
std::string Reporter::peer_of(const Transfer& transfer) const {
  return (transfer.sends ? " to " : " from ") + with_fate(transfer.peer) + " (tag " +
         std::to_string(transfer.tag) + ", " + count(transfer.size, "value") + ")";
}

std::string Reporter::with_fate(std::size_t rank) const {
  std::string text = "rank " + std::to_string(rank);
  switch (ranks_[rank].status) {
    case RankState::Status::finished:
      return text + ", which has finished";
    case RankState::Status::dead:
      return text + ", which died";
    case RankState::Status::runs:
    case RankState::Status::blocked:
      break;
  }
  return text;
}

}  // namespace meshparity::sim
