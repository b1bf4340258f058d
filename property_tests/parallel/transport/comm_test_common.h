#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/transport/comm.h"

namespace meshparity {

/// Collective: runs every operation of `comm`, also on groups split from it, and compares each
/// result with a literal expectation. Sizes (uneven, empty), roots and colours are drawn from
/// `seed`, which is the same on every rank. Returns what was wrong on this rank; empty if nothing
/// was.
std::vector<std::string> check_every_operation(Comm& comm, std::uint64_t seed);

}  // namespace meshparity
