#pragma once

namespace meshparity {

/// How every program of the project ends.
enum ExitStatus : int {
  kSuccess = 0,
  kProofFailed = 1,        ///< a comparison found a difference, or an invariant broke
  kBadUsage = 2,           ///< bad usage or input
  kEnvironmentFailed = 3,  ///< no MPI, a full disk, out of memory
};

}  // namespace meshparity
