#include "parallel/transport/comm_mpi_process.h"

#include <algorithm>
#include <utility>

namespace meshparity {

void check_mpi(int result, const CommOperation& operation) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw CommError(describe(operation) + ": " + std::string(text, static_cast<std::size_t>(length)));
}

void check_count(std::uint64_t received, std::size_t expected, const CommOperation& operation) {
  if (std::cmp_equal(received, expected)) return;
  throw CommError(describe(operation) + ": expected " + std::to_string(expected) +
                  " values, received " + std::to_string(received));
}

void check_size(const MPI_Status& status, std::size_t expected, const CommOperation& operation) {
  int received = 0;
  check_mpi(MPI_Get_count(&status, MPI_FLOAT, &received), operation);
  check_count(static_cast<std::uint64_t>(received), expected, operation);
}

MpiProcess::MpiProcess(std::chrono::milliseconds deadline, MpiWorld::DeadlineHandler on_deadline)
    : on_deadline_(std::move(on_deadline)), watchdog_(deadline, on_deadline_) {
  meet_neighbours();
}

std::shared_ptr<Transfer> MpiProcess::new_transfer(const CommOperation& operation) {
  const auto free = std::ranges::find(transfers_, false, &Transfer::active);
  auto transfer =
      free == transfers_.end() ? transfers_.emplace_back(std::make_shared<Transfer>()) : *free;
  transfer->group = *operation.group;
  transfer->operation = operation;
  transfer->operation.group = &transfer->group;
  transfer->receives = false;
  transfer->arrived = false;
  transfer->lender = nullptr;
  transfer->returns = MPI_COMM_NULL;
  return transfer;
}

std::string MpiProcess::dropped_requests() const {
  std::string text;
  for (const auto& transfer : transfers_) {
    // One reference is this list's, the other the request's.
    if (!transfer->active || transfer.use_count() > 1) continue;
    text += (text.empty() ? "" : "\n") + describe(transfer->operation) +
            ": its request was dropped without a wait";
  }
  return text;
}

std::uint64_t MpiProcess::show(std::span<const float> values, Transfer& transfer) const {
  if (const auto place = arena_->place_of(values)) return *place;
  // At least a large block: smaller ones are not in the arena.
  transfer.copy.reserve(std::max(values.size(), kLargeBlock / sizeof(float)));
  transfer.copy.assign(values.begin(), values.end());
  const auto place = arena_->place_of(transfer.copy);
  if (!place) throw CommError("there is no shared memory left for a loan");
  return *place;
}

/// Collective. Ranks of one machine open each other's memory; only those that one daemon of Open
/// MPI started look for it, since on another machine a process's number is somebody else's.
void MpiProcess::meet_neighbours() {
  int ranks = 0;
  int rank = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  neighbours_.resize(static_cast<std::size_t>(ranks));
  MPI_Comm machine = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  MPI_Comm_size(machine, &ranks);
  if (ranks > 1) meet_neighbours_of(machine, rank, static_cast<std::size_t>(ranks));
  MPI_Comm_free(&machine);
}

/// Collective over `machine`, a group of `size` ranks; this one has the number `rank` in the world.
void MpiProcess::meet_neighbours_of(MPI_Comm machine, int rank, std::size_t size) {
  std::vector<int> ranks(size);
  MPI_Allgather(&rank, 1, MPI_INT, ranks.data(), 1, MPI_INT, machine);
  auto arena = SharedArena::create();
  std::vector<ArenaAddress> addresses(size);
  const ArenaAddress mine = arena == nullptr ? ArenaAddress() : arena->address();
  MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, addresses.data(), sizeof(mine), MPI_BYTE, machine);
  std::vector<std::unique_ptr<PeerArena>> seen(size);
  std::vector<std::uint8_t> sees(size);
  std::vector<std::uint8_t> is_seen_by(size);
  for (std::size_t r = 0; r < size; ++r) {
    if (ranks[r] != rank && arena != nullptr) seen[r] = PeerArena::open(addresses[r]);
    sees[r] = seen[r] != nullptr ? 1 : 0;
  }
  MPI_Alltoall(sees.data(), 1, MPI_BYTE, is_seen_by.data(), 1, MPI_BYTE, machine);
  std::vector<const Watchdog::Waited*> waited;
  for (std::size_t r = 0; r < size; ++r) {
    if (seen[r] == nullptr || is_seen_by[r] == 0) continue;
    waited.push_back(&seen[r]->head().waited);
    neighbours_[static_cast<std::size_t>(ranks[r])] = std::move(seen[r]);
  }
  if (waited.empty()) return;
  // Blocks may outlive MPI, so their memory stays until the process ends.
  arena_ = arena.release();
  watchdog_.meet(arena_->head().waited, std::move(waited));
  take_blocks_from(arena_);
}

}  // namespace meshparity
