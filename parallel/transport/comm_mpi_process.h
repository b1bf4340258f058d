#pragma once

#define OMPI_SKIP_MPICXX 1  // the C++ bindings that MPI has withdrawn
#include <mpi.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "parallel/transport/comm.h"
#include "parallel/transport/comm_mpi.h"
#include "parallel/transport/operation.h"
#include "parallel/transport/shared_memory.h"
#include "parallel/transport/watchdog.h"

namespace meshparity {

/// A send, a receive or a loan under way. Used again when it is over, so that operations stop
/// allocating.
struct Transfer final : Request::State {
  MPI_Request request = MPI_REQUEST_NULL;
  CommOperation operation{};
  std::string group;  // the operation may outlive its group
  bool receives = false;
  bool active = false;
  bool arrived = false;
  std::span<float> room;  // of a receive
  // Of a loan that is read in place:
  const PeerArena* lender = nullptr;          // the memory a borrower reads
  MPI_Comm returns = MPI_COMM_NULL;           // where a borrower gives it back
  MPI_Request given_back = MPI_REQUEST_NULL;  // what a lender waits for
  std::array<std::uint64_t, 2> place{};       // and size
  AlignedFloats copy;                         // of values that are not in the lender's arena
};

/// Turns an MPI error into a CommError that names the operation.
void check_mpi(int result, const CommOperation& operation);

/// MPI accepts a message that is shorter than its receiver expects; this project does not.
void check_count(std::uint64_t received, std::size_t expected, const CommOperation& operation);
void check_size(const MPI_Status& status, std::size_t expected, const CommOperation& operation);

/// What all groups of this process share.
class MpiProcess {
 public:
  /// Collective over the world.
  MpiProcess(std::chrono::milliseconds deadline, MpiWorld::DeadlineHandler on_deadline);

  /// An operation under watch for as long as this lives.
  class Watched {
   public:
    Watched(MpiProcess& process, const CommOperation& operation) : process_(process) {
      process_.watchdog_.begin(operation);
    }
    ~Watched() { process_.watchdog_.end(); }
    Watched(const Watched&) = delete;
    Watched& operator=(const Watched&) = delete;

   private:
    MpiProcess& process_;
  };

  void set_deadline(std::chrono::milliseconds deadline) { watchdog_.set_deadline(deadline); }

  std::shared_ptr<Transfer> new_transfer(const CommOperation& operation);

  /// The requests that nobody can wait for any more, one a line; empty if there are none.
  std::string dropped_requests() const;

  void report(const std::string& text) const { on_deadline_(text); }

  /// The memory of another rank of the world; null unless each of the two sees the other's.
  const PeerArena* neighbour(std::size_t rank) const { return neighbours_[rank].get(); }

  /// The place of `values` in this rank's arena; if they are not in it, of a copy that `transfer`
  /// keeps.
  std::uint64_t show(std::span<const float> values, Transfer& transfer) const;

 private:
  void meet_neighbours();
  void meet_neighbours_of(MPI_Comm machine, int rank, std::size_t size);

  SharedArena* arena_ = nullptr;
  std::vector<std::unique_ptr<PeerArena>> neighbours_;  // [rank in the world]
  std::vector<std::shared_ptr<Transfer>> transfers_;
  const MpiWorld::DeadlineHandler on_deadline_;
  Watchdog watchdog_;
};

}  // namespace meshparity
