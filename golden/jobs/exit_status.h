#pragma once

#include <exception>
#include <new>
#include <system_error>

#include "model/error.h"

namespace meshparity {

/// How every program of the project ends.
enum ExitStatus : int {
  kSuccess = 0,
  kProofFailed = 1,        ///< a comparison found a difference, or a simulated world cannot go on
  kBadUsage = 2,           ///< bad usage or input
  kEnvironmentFailed = 3,  ///< no MPI, a full disk, out of memory, or what nobody foresaw
  kUnverified = 4,         ///< nothing differs, but not all of the proof was run and judged
};

/// True if it was the machine that failed, so that nothing is known about what ran: no memory, no
/// thread, a full disk.
inline bool is_of_environment(const std::exception& error) {
  return dynamic_cast<const EnvironmentError*>(&error) != nullptr ||
         dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         dynamic_cast<const std::system_error*>(&error) != nullptr;
}

}  // namespace meshparity
