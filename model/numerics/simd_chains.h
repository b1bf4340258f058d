#pragma once

// Matrix products whose sums are chains of one leaf, and can go on from what is there: what
// attention consists of. Only the kernels include this.
//
// All operands but the left one are padded to whole vectors.

#include <utility>

#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kStripVectors = 2;
constexpr std::size_t kStrip = kStripVectors * kLanes;  // columns of a tile

/// Which terms the rows of a tile take part in.
enum class Terms {
  all,       ///< each row in all of them
  to_row,    ///< row i in all but the last `rows - 1 - i`: keys that a query sees
  from_row,  ///< row i in all but the first i: queries that see a key
};

/// sums[r][c] = (sums[r][c] or +0), then fma(left(r, t), right(t, c), .) for each term t in order.
struct ChainTask {
  const float* left;
  std::size_t left_row_stride;
  std::size_t left_term_stride;
  const float* right;
  std::size_t right_term_stride;
  std::size_t terms;
  float* sums;
  std::size_t sums_row_stride;
  bool goes_on;  ///< from the sums that are there
};

/// Terms that `First <= row < End` take part in.
template <std::size_t Rows, std::size_t Vectors>
struct ChainTile {
  Vector sum[Rows][Vectors];

  [[gnu::always_inline]] inline void add(const ChainTask& task, const float* left,
                                         const float* right, std::size_t first, std::size_t end) {
    Vector factor[Vectors];
    MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
      factor[v] = load(right + v * kLanes);
    }
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      if (r < first || r >= end) continue;
      const Vector element = broadcast(left[r * task.left_row_stride]);
      MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
        sum[r][v] = fma(element, factor[v], sum[r][v]);
      }
    }
  }
};

template <Terms Kind, std::size_t Rows, std::size_t Vectors>
void chain_tile(const ChainTask& given) {
  const ChainTask task = given;
  const float* left = task.left;
  const float* right = task.right;
  ChainTile<Rows, Vectors> tile;  // NOLINT(cppcoreguidelines-pro-type-member-init): set below
  MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
    MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
      tile.sum[r][v] =
          task.goes_on ? load(task.sums + r * task.sums_row_stride + v * kLanes) : Vector{};
    }
  }
  const auto step = [&](std::size_t first, std::size_t end) __attribute__((always_inline)) {
    tile.add(task, left, right, first, end);
    left += task.left_term_stride;
    right += task.right_term_stride;
  };
  const std::size_t dense = Kind == Terms::all ? task.terms : task.terms - (Rows - 1);
  if constexpr (Kind == Terms::from_row) {
    MESHPARITY_UNROLL for (std::size_t i = 1; i < Rows; ++i) step(0, i);
  }
  MESHPARITY_UNROLL_TERMS for (std::size_t t = 0; t < dense; ++t) step(0, Rows);
  if constexpr (Kind == Terms::to_row) {
    MESHPARITY_UNROLL for (std::size_t i = 1; i < Rows; ++i) step(i, Rows);
  }
  MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
    MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
      store(task.sums + r * task.sums_row_stride + v * kLanes, tile.sum[r][v]);
    }
  }
}

using ChainKernel = void (*)(const ChainTask& task);

template <Terms Kind, std::size_t Vectors, std::size_t... Less>
ChainKernel chain_kernel_of(std::size_t rows, std::index_sequence<Less...> /*all*/) {
  static constexpr ChainKernel kKernels[] = {chain_tile<Kind, Less + 1, Vectors>...};
  return kKernels[rows - 1];
}

/// One tile: 1 <= rows <= kTileRows, 1 <= vectors <= kStripVectors.
template <Terms Kind>
[[gnu::always_inline]] inline void add_chains(const ChainTask& task, std::size_t rows,
                                              std::size_t vectors) {
  constexpr auto kAll = std::make_index_sequence<kTileRows>();
  (vectors == 1 ? chain_kernel_of<Kind, 1>(rows, kAll)
                : chain_kernel_of<Kind, 2>(rows, kAll))(task);
}

/// All columns of some rows, at most kTileRows: `columns` is a multiple of kLanes.
template <Terms Kind>
void add_chains_of_rows(ChainTask task, std::size_t rows, std::size_t columns) {
  for (std::size_t c = 0; c < columns; c += kStrip) {
    add_chains<Kind>(task, rows, columns - c < kStrip ? 1 : kStripVectors);
    task.right += kStrip;
    task.sums += kStrip;
  }
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
