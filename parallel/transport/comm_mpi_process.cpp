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

/// Collective. Ranks of one machine open each other's memory.
void MpiProcess::meet_neighbours() {
  int ranks = 0;
  int rank = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  neighbours_.resize(static_cast<std::size_t>(ranks));
  if (ranks == 1) return;

  const auto me = static_cast<std::size_t>(rank);
  auto arena = SharedArena::create();
  std::vector<ArenaAddress> addresses(neighbours_.size());
  if (arena != nullptr) addresses[me] = arena->address();
  MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, addresses.data(), sizeof(ArenaAddress),
                MPI_BYTE, MPI_COMM_WORLD);
  std::vector<std::uint8_t> sees(neighbours_.size());
  std::vector<std::uint8_t> is_seen_by(neighbours_.size());
  for (std::size_t r = 0; r < neighbours_.size(); ++r) {
    if (r != me && arena != nullptr && addresses[r].process != 0) {
      neighbours_[r] = PeerArena::open(addresses[r]);
    }
    sees[r] = neighbours_[r] != nullptr ? 1 : 0;
  }
  MPI_Alltoall(sees.data(), 1, MPI_BYTE, is_seen_by.data(), 1, MPI_BYTE, MPI_COMM_WORLD);
  std::vector<const Watchdog::Waited*> waited;
  for (std::size_t r = 0; r < neighbours_.size(); ++r) {
    if (is_seen_by[r] == 0) neighbours_[r].reset();
    if (neighbours_[r] != nullptr) waited.push_back(&neighbours_[r]->head().waited);
  }
  if (waited.empty()) return;
  // Blocks may outlive MPI, so their memory stays until the process ends.
  arena_ = arena.release();
  watchdog_.meet(arena_->head().waited, std::move(waited));
  take_blocks_from(arena_);
}

}  // namespace meshparity
