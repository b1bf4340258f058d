#include "golden/files/shard_rows.h"

#include <algorithm>

#include "golden/files/gpt2_names.h"

namespace meshparity {

Range rows_in(const Shard& shard) {
  if (shard.size() == 0) return {};
  const std::size_t width = shard.columns.size();
  return {shard.rows.begin + shard.flat.begin / width,
          shard.rows.begin + (shard.flat.end - 1) / width + 1};
}

Range columns_in(const Shard& shard, std::size_t row) {
  if (row < shard.rows.begin || row >= shard.rows.end) return {};
  const std::size_t width = shard.columns.size();
  const std::size_t first = (row - shard.rows.begin) * width;  // of the row, in the block
  const std::size_t begin = std::max(shard.flat.begin, first);
  const std::size_t end = std::min(shard.flat.end, first + width);
  if (begin >= end) return {};
  return {shard.columns.begin + begin - first, shard.columns.begin + end - first};
}

std::size_t place_in(const Shard& shard, std::size_t row, std::size_t column) {
  return (row - shard.rows.begin) * shard.columns.size() + (column - shard.columns.begin) -
         shard.flat.begin;
}

std::vector<std::size_t> columns_in_file(const ParameterSpec& spec, std::size_t heads) {
  const FileOrder order(spec, WeightLayout::input_output, heads);
  std::vector<std::size_t> columns;
  if (order.same()) return columns;
  for (std::size_t c = 0; c < spec.columns; ++c) columns.push_back(order.index(c));
  return columns;
}

std::size_t run_in_file(std::span<const std::size_t> in_file, Range columns) {
  std::size_t run = 1;
  while (run < columns.size() && in_file[columns.begin + run] == in_file[columns.begin] + run) {
    ++run;
  }
  return run;
}

}  // namespace meshparity
