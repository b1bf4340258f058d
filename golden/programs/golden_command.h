#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-golden, without the program's name. Returns the exit status.
int golden_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
