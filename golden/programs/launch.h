#pragma once

#include <cstddef>
#include <exception>
#include <memory>

#include "parallel/transport/comm.h"

namespace meshparity {

/// How this process was started: alone, or by mpirun as one rank of many. Without the Open MPI
/// transport built in, a process is always alone.
class Launch {
 public:
  /// Joins the other ranks if mpirun started this process. Throws EnvironmentError if it did and
  /// this build has no MPI.
  Launch();
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  /// Starts MPI in a process that mpirun did not start: a world of one rank. Throws
  /// EnvironmentError if this build has no MPI.
  void require_mpi();

  /// Null without MPI.
  Comm* world() const;
  std::size_t rank() const { return world() == nullptr ? 0 : world()->rank(); }
  std::size_t size() const { return world() == nullptr ? 1 : world()->size(); }

  /// Collective: the ranks tell each other who failed, and the first that did prints its error.
  /// Returns its exit status, 0 if nobody failed.
  int agree(const std::exception_ptr& error) const;

  /// For the other ranks when training is over: no deadline while they wait for rank 0 to finish.
  void wait_for_root();

  /// Prints an error that the other ranks may not have seen, and ends all of them.
  [[noreturn]] void abort(const std::exception_ptr& error);

 private:
  struct Mpi;
  std::unique_ptr<Mpi> mpi_;
};

}  // namespace meshparity
