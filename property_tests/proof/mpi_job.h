#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// The first case of a job that did not come out right.
struct MpiFailure {
  std::size_t number = 0;  ///< of the case, from 0
  std::string difference;  ///< what differs, or how the job ended
};

/// What a job that ended like this says about its cases. It prints a verdict for each, `case
/// <number> equal` or `case <number> <what went wrong>`, and ends with status 0: anything else is a
/// failure of the first case without a verdict, or of the last one if all have theirs.
std::optional<MpiFailure> failure_in(const ChildResult& job, std::size_t cases);

/// Runs cases one after the other in one real mpirun job, with as many ranks as the largest needs.
/// The job has a hard deadline. At least one case.
std::optional<MpiFailure> failure_under_mpi(const std::vector<ParityCase>& cases);

}  // namespace meshparity
