#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "property_tests/parity_case.h"

namespace meshparity {

/// Runs cases one after the other in one real mpirun job, as many ranks as the largest needs.
/// Returns for each what went wrong: a difference, a crash, a hang (the job has a hard deadline).
/// When a case ends the job, the ones behind it run in another.
std::vector<std::optional<std::string>> differences_under_mpi(const std::vector<ParityCase>& cases);

}  // namespace meshparity
