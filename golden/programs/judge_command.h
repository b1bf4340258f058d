#pragma once

#include <string>
#include <vector>

namespace meshparity {

/// meshparity-judge, without the program's name. Returns the exit status: 0 verified, 1 different,
/// 4 unverified.
int judge_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
