#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-diff, without the program's name. Returns the exit status: 0 the same, 1 not.
int diff_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
