#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "parallel/transport/comm.h"

namespace meshparity {

class MpiProcess;

/// True when this process was started by Open MPI's mpirun.
bool started_by_mpirun();

/// A count, displacement, rank or colour as MPI takes it. Throws CommError that names a value too
/// large.
int checked_count(std::size_t value);

/// Open MPI for the lifetime of this object: initialised on construction, finalised on destruction.
/// MPI errors become CommError with the operation's name. Only the thread that made it may use it,
/// and groups split from it must be gone before it is.
///
/// Destroyed while an exception is under way, it leaves MPI as it is: finalising waits for the
/// other ranks, who may be waiting for this one. Catch the exception outside and call `abort`
/// inside, or let the process end: mpirun then ends the job.
class MpiWorld {
 public:
  /// Called from a watchdog thread with what this rank has been waiting for (operation, group,
  /// peer, call site, seconds) when one operation takes longer than the deadline, here and on all
  /// other ranks of this machine (see watchdog.h). It should report
  /// and end the process; mpirun then ends the job. Also called, by the destructor, with the
  /// requests that nobody waited for.
  using DeadlineHandler = std::function<void(const std::string& report)>;

  static constexpr std::chrono::milliseconds default_deadline{120'000};

  /// Throws CommError if MPI runs already or the deadline is not positive.
  MpiWorld(std::chrono::milliseconds deadline, DeadlineHandler on_deadline);
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  Comm& comm() { return *comm_; }

  /// From now on. Throws CommError if it is not positive.
  void set_deadline(std::chrono::milliseconds deadline);

  /// Ends every rank of the job with this exit status. Does not return.
  [[noreturn]] void abort(int status);

 private:
  int exceptions_;  // under way on construction
  std::unique_ptr<MpiProcess> process_;
  std::unique_ptr<Comm> comm_;
};

}  // namespace meshparity
