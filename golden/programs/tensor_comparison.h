#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"

namespace meshparity {

/// A tensor of two files, held together bit for bit.
struct TensorComparison {
  std::size_t step = 0;
  std::string tensor;
  std::size_t elements = 0;
  std::size_t different = 0;  ///< of them; all of a tensor that only one file has
  double relative = 0;        ///< root mean squares: of the differences, over that of the values
  std::string finding;        ///< the first difference, for a person; empty: none
};

/// Where two safetensors files part, for a person: a tensor that only one has, another shape or
/// type, the first element whose bits differ, metadata. NaN equals NaN.
std::optional<std::string> compare_tensor_files(const TensorFile& left, const TensorFile& right);

/// Every tensor of both, by name, in the order of `left`; `step` is theirs.
std::vector<TensorComparison> compare_every_tensor(const TensorFile& left, const TensorFile& right,
                                                   std::size_t step);

}  // namespace meshparity
