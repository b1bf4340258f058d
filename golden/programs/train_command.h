#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-train, without the program's name. Every rank of an mpirun job runs it; rank 0
/// speaks. Returns the exit status.
int train_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
