#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace meshparity {

/// How a child process ended, and what it printed.
struct ChildResult {
  int status = 0;          ///< exit status; 128 + signal if a signal ended it
  bool timed_out = false;  ///< it was killed at the deadline
  std::string output;      ///< stdout
  std::string errors;      ///< stderr
};

/// Runs a program, found on PATH, with nothing on stdin, and waits for it. At the deadline it gets
/// SIGTERM, so that mpirun can end its ranks, and two seconds later its whole process group
/// SIGKILL. Throws EnvironmentError if it cannot be started.
ChildResult run_child(const std::vector<std::string>& command, std::chrono::milliseconds deadline);

/// The folder of the running program, where the other programs are.
std::string program_folder();

}  // namespace meshparity
