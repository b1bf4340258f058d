#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>

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

  /// Collective: does on every rank what may fail on some of them. If it did, the first of those
  /// prints its error, which says what rank it is unless all failed, and all get the exit status
  /// with which the job ends. (A PrintAndExit ends it, too.)
  template <typename Action>
  std::optional<int> together(Action action) const {
    try {
      action();
    } catch (...) {
      return agree(std::current_exception());
    }
    return agree(nullptr);
  }

  /// How long an operation may wait for other ranks before the job is ended.
  void set_deadline(std::chrono::seconds deadline);

  /// For the other ranks when training is over: no deadline while they wait for rank 0 to finish.
  void wait_for_root();

  /// Prints an error that the other ranks may not have seen, and ends all of them.
  [[noreturn]] void abort(const std::exception_ptr& error);

 private:
  std::optional<int> agree(const std::exception_ptr& error) const;

  struct Mpi;
  std::unique_ptr<Mpi> mpi_;
};

}  // namespace meshparity
