#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"

namespace meshparity {

/// Where two safetensors files part, for a person: a tensor that only one has, another shape or
/// type, the first element whose bits differ, metadata. NaN equals NaN.
std::optional<std::string> compare_tensor_files(const TensorFile& left, const TensorFile& right);

/// meshparity-diff, without the program's name. Returns the exit status: 0 the same, 1 not.
int diff_command(const std::vector<std::string>& arguments);

}  // namespace meshparity
