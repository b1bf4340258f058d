#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-portable. Returns the exit status; throws PrintAndExit, UsageError, EnvironmentError.
int portability_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
