#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "parallel/comm.h"

namespace meshparity {

/// True when this process was started by Open MPI's mpirun.
bool started_by_mpirun();

/// Open MPI for the lifetime of this object: initialised on construction, finalised on destruction.
/// MPI errors become CommError with the operation's name.
class MpiWorld {
 public:
  /// Called from a watchdog thread with what this rank has been waiting for (operation, group, peer,
  /// call site, seconds) when one operation takes longer than the deadline. It should report and end the
  /// process; mpirun then ends the job. Default: the deadline is 120 s.
  using DeadlineHandler = std::function<void(const std::string& report)>;

  MpiWorld(std::chrono::milliseconds deadline, DeadlineHandler on_deadline);
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  Comm& comm() { return *comm_; }

  /// Ends every rank of the job with this exit status. Does not return.
  [[noreturn]] void abort(int status);

 private:
  struct Watchdog;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<Comm> comm_;
};

}  // namespace meshparity
