#pragma once

// The canonical matrix product for one instruction set: cuts it into tiles and brings the operands
// into an order in which lanes lie side by side. Included by simd_kernels.cpp alone.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd_pack.h"
#include "model/numerics/simd_tile.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

// Rows that packing brings together at once: a power of two.
constexpr std::size_t kPackedRows = kTileRows > 4 ? 8 : kTileRows;
static_assert(kTileRows <= kPackedRows && kPackedRows <= kLanes);

// Packing copies an operand to read it faster. From here on it pays, by measurement.
constexpr std::size_t kPackRightRows = 64;
constexpr std::size_t kPackLeftColumns = 64;
constexpr std::size_t kPackElements = 1 << 15;
constexpr std::size_t kPackTerms = 16;  // at once, where their rows lie side by side

// A left matrix of more elements is packed a block of rows at a time, which stays in the cache; but
// not for fewer rows than make up for packing the right matrix once more.
constexpr std::size_t kBlockElements = 1 << 17;
constexpr std::size_t kBlockRows = 40 * kTileRows;
// RowTiles cuts this many rows or more so that the first tile is a full one.
static_assert(kPackRightRows > (kTileRows - 1) * (kTileRows - 1));

/// One panel of a transposed right matrix, the vectors of columns that start at `first` and
/// `second`: packed[t * kPanel + lane].
void transpose_panel(const ProductTask& task, std::size_t first, std::size_t second,
                     std::size_t vectors, float* packed) {
  for (std::size_t v = 0; v < vectors; ++v) {
    const float* const right = task.right + (v == 0 ? first : second) * task.right_column_stride;
    pack_rows<kLanes>(right, kLanes, kLanes, task.right_column_stride, task.terms,
                      task.right_term_stride, packed + v * kLanes, kPanel);
  }
}

/// How the rows are cut into tiles of nearly the same height: a last tile of few rows would leave
/// the multipliers idle.
struct RowTiles {
  explicit RowTiles(std::size_t rows)
      : count((rows + kTileRows - 1) / kTileRows), height(rows / count), higher(rows % count) {}

  std::size_t count;
  std::size_t height;
  std::size_t higher;  // the first ones have one row more
};

/// Floats of a packed tile, and room for the surplus rows of its last term.
std::size_t packed_tile(const ProductTask& task) {
  return task.terms * kTileRows + kPackedRows - kTileRows;
}

/// All of the left matrix, tile by tile: packed[t * kTileRows + row].
void pack_left(const ProductTask& task, const RowTiles& tiles, float* packed) {
  // Where rows lie side by side, a cache line of a term has several tiles: it stays in the cache
  // if there are only a few terms at a time.
  const std::size_t terms_at_once = task.left_row_stride == 1 ? kPackTerms : task.terms;
  for (std::size_t term = 0; term < task.terms; term += terms_at_once) {
    const std::size_t rest = task.terms - term;
    const std::size_t terms = rest < terms_at_once ? rest : terms_at_once;
    const float* const left = task.left + term * task.left_term_stride;
    float* tile = packed + term * kTileRows;
    std::size_t row = 0;
    for (std::size_t i = 0; i < tiles.count; ++i, tile += packed_tile(task)) {
      const std::size_t rows = tiles.height + (i < tiles.higher ? 1 : 0);
      pack_rows<kPackedRows>(left + row * task.left_row_stride, rows, task.rows - row,
                             task.left_row_stride, terms, task.left_term_stride, tile, kTileRows);
      row += rows;
    }
  }
}

bool packs_right(const ProductTask& task) {
  return task.rows >= kPackRightRows && task.terms * task.columns >= kPackElements;
}

bool packs_left(const ProductTask& task) {
  if (task.left_term_stride == 1 && !kPacksLeftRows) return false;
  return task.columns >= kPackLeftColumns && task.rows * task.terms >= kPackElements;
}

/// How the rows are cut into blocks: into one, if the left matrix is not packed.
std::size_t block_count(const ProductTask& task) {
  const std::size_t wanted = (task.rows * task.terms + kBlockElements - 1) / kBlockElements;
  const std::size_t most = task.rows / kBlockRows;
  if (!packs_left(task) || most < 2) return 1;
  return wanted < most ? wanted : most;
}

/// Rows of all blocks but the last, which may have fewer: whole tiles.
std::size_t rows_of_block(const ProductTask& task) {
  const std::size_t blocks = block_count(task);
  if (blocks == 1) return task.rows;
  const std::size_t tiles = RowTiles((task.rows + blocks - 1) / blocks).count;
  return tiles * kTileRows;
}

std::size_t product_scratch(const ProductTask& task) {
  std::size_t floats = kPanel * task.terms;
  if (packs_left(task)) floats += RowTiles(rows_of_block(task)).count * packed_tile(task) + kLanes;
  if (task.columns < kLanes) floats += (task.terms + task.rows + 1) * kLanes;
  return floats;
}

/// One panel: the tiles below each other, first the higher ones. If the right matrix is to be
/// packed, the first tile does that.
void compute_panel(TileColumn tiles, const RowTiles& heights, std::size_t vectors) {
  const std::size_t packed_stride = tiles.left_tile_stride;
  for (std::size_t done = 0; done < heights.count; done += tiles.count) {
    const bool higher = done < heights.higher;
    const std::size_t rows = heights.height + (higher ? 1 : 0);
    const bool packs = tiles.packed_right != nullptr;
    tiles.count = packs ? 1 : (higher ? heights.higher : heights.count) - done;
    tiles.left_tile_stride = packed_stride != 0 ? packed_stride : rows * tiles.left_row_stride;
    tiles.ahead_first = done - 1;  // the first tile packs
    tiles.ahead_step = heights.count - 1;
    compute(tiles, rows, vectors);
    tiles.left += tiles.count * tiles.left_tile_stride;
    tiles.output += tiles.count * rows * tiles.output_row_stride;
    if (!packs) continue;
    tiles.right = tiles.packed_right;
    tiles.right_term_stride = kPanel;
    tiles.right_second = kLanes;
    tiles.packed_right = nullptr;
  }
}

/// A product of at least kLanes columns.
void wide_product(const ProductTask& task) {
  const RowTiles heights(task.rows);
  const bool pack_right = packs_right(task);
  const bool transposed = task.right_column_stride != 1;
  float* const packed_right = task.scratch;
  TileColumn tiles{};
  tiles.left = task.left;
  tiles.left_row_stride = task.left_row_stride;
  tiles.left_term_stride = task.left_term_stride;
  tiles.right_term_stride = transposed ? kPanel : task.right_term_stride;
  tiles.terms = task.terms;
  tiles.grain = task.grain;
  tiles.output_row_stride = task.columns;
  tiles.relu = task.relu;
  if (packs_left(task)) {
    float* const packed_left = packed_right + kPanel * task.terms;
    pack_left(task, heights, packed_left);
    tiles.left = packed_left;
    tiles.left_tile_stride = packed_tile(task);
    tiles.left_row_stride = 1;
    tiles.left_term_stride = kTileRows;
  }
  for (std::size_t column = 0; column < task.columns; column += kPanel) {
    // A vector that would overhang the last column starts earlier instead, and some elements are
    // computed twice, to the same bits.
    const std::size_t last = task.columns - kLanes;
    const std::size_t first = column < last ? column : last;
    const std::size_t second = column + kLanes < last ? column + kLanes : last;
    const std::size_t vectors = column + kLanes < task.columns ? 2 : 1;
    tiles.output = task.output + first;
    tiles.output_second = second - first;
    tiles.bias = task.bias == nullptr ? nullptr : task.bias + first;
    if (transposed) {
      transpose_panel(task, first, second, vectors, packed_right);
      tiles.right = packed_right;
      tiles.right_second = kLanes;
    } else {
      tiles.right = task.right + first;
      tiles.right_second = second - first;
    }
    if (pack_right && !transposed) {
      tiles.packed_right = packed_right;
      tiles.ahead = column + kPanel < task.columns ? tiles.right + kPanel : nullptr;
      tiles.ahead_stride = task.right_term_stride;
    }
    compute_panel(tiles, heights, vectors);
  }
}

/// A product of fewer columns: the same with the right matrix padded to kLanes of them.
void narrow_product(const ProductTask& task) {
  ProductTask wide = task;
  float* const right = task.scratch;
  float* const output = right + task.terms * kLanes;
  float* const bias = output + task.rows * kLanes;
  for (std::size_t c = 0; c < kLanes; ++c) {
    const bool inside = c < task.columns;
    for (std::size_t t = 0; t < task.terms; ++t) {
      right[t * kLanes + c] =
          inside ? task.right[t * task.right_term_stride + c * task.right_column_stride] : 0.0F;
    }
    bias[c] = inside && task.bias != nullptr ? task.bias[c] : 0.0F;
  }
  wide.right = right;
  wide.right_term_stride = kLanes;
  wide.right_column_stride = 1;
  wide.columns = kLanes;
  wide.output = output;
  wide.bias = task.bias == nullptr ? nullptr : bias;
  wide.scratch = bias + kLanes;
  wide_product(wide);
  for (std::size_t r = 0; r < task.rows; ++r) {
    for (std::size_t c = 0; c < task.columns; ++c) {
      task.output[r * task.columns + c] = output[r * kLanes + c];
    }
  }
}

void product(const ProductTask& task) {
  if (task.columns < kLanes) return narrow_product(task);
  const std::size_t height = rows_of_block(task);
  for (std::size_t row = 0; row < task.rows; row += height) {
    ProductTask block = task;
    block.left += row * task.left_row_stride;
    block.output += row * task.columns;
    block.rows = task.rows - row < height ? task.rows - row : height;
    wide_product(block);
  }
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
