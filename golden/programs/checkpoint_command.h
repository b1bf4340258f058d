#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-checkpoint: writes a checkpoint in the other layout. Returns the exit status.
int checkpoint_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
