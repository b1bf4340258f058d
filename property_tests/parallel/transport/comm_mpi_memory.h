#pragma once

#include <string>
#include <vector>

#include "parallel/transport/comm.h"

namespace meshparity {

/// Collective over a world of real ranks. What is wrong with the memory of operations and of
/// training steps: after the first ones they take none, and a group that goes leaves nothing.
std::vector<std::string> check_memory(Comm& world);

}  // namespace meshparity
