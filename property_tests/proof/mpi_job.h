#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// The first case of a job that did not come out right.
struct MpiFailure {
  std::size_t number = 0;  ///< of the case, from 0
  std::string difference;  ///< what differs, or how the job ended
};

/// Runs cases one after the other in one real mpirun job, with as many ranks as the largest needs.
/// A crash of the job is a failure of the case it was at, and so is a hang: the job has a hard
/// deadline.
std::optional<MpiFailure> failure_under_mpi(const std::vector<ParityCase>& cases);

}  // namespace meshparity
