#pragma once

namespace meshparity {

/// How every program of the project ends.
enum ExitStatus : int {
  kSuccess = 0,
  kProofFailed = 1,        ///< a comparison found a difference, or a simulated world cannot go on
  kBadUsage = 2,           ///< bad usage or input
  kEnvironmentFailed = 3,  ///< no MPI, a full disk, out of memory, or what nobody foresaw
  kUnverified = 4,         ///< nothing differs, but not all of the proof was run and judged
};

}  // namespace meshparity
