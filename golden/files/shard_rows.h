#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/numerics/range.h"
#include "model/parameter.h"

/// Where the elements of a shard stand, row by row of the whole parameter.
namespace meshparity {

/// The rows of the parameter in which the shard has elements.
Range rows_in(const Shard& shard);
/// The columns of the parameter that the shard has in row `row`; empty if it has none.
Range columns_in(const Shard& shard, std::size_t row);
/// The number, in the shard, of the element at (row, column), which it holds.
std::size_t place_in(const Shard& shard, std::size_t row, std::size_t column);

/// The column of a gathered file that holds each column of a parameter; empty if it is the same.
std::vector<std::size_t> columns_in_file(const ParameterSpec& spec, std::size_t heads);
/// How many of `columns`, from the first on, stand side by side in the file, too.
std::size_t run_in_file(std::span<const std::size_t> in_file, Range columns);

}  // namespace meshparity
