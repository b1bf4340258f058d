#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {

/// "deadlock", "mismatch", "leaked_message", "rank_died"
std::string name_of(SimFailure::Kind kind);

/// Expects that `body` fails under every one of many seeds, within a second, with `kind` and a
/// report that has all of `parts`. Returns the last failure.
SimFailure expect_sim_failure(SimFailure::Kind kind, const std::vector<std::string>& parts,
                              std::size_t ranks, const std::function<void(Comm& world)>& body);

}  // namespace meshparity
