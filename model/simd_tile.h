#pragma once

// The micro-kernel of the canonical matrix product, for one instruction set. Included by
// simd_kernels.cpp alone.
//
// Lanes lie along the output and every element of the output has its own accumulator, so neither
// the width of the vectors nor the shape of a tile can change a sum.
//
//     tile:      kTileRows x 2 vectors of the output
//     one leaf:  `grain` fused multiply-adds on each of them, in registers; where there are enough
//                of those, two neighbouring leaves are added side by side, so that half of the tree
//                never leaves the registers
//     the tree:  a small stack of tiles, merged by a binary counter

#include <utility>

#include "model/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kTileVectors = 2;
constexpr std::size_t kMergeDepth = 48;  // of the binary counter: more leaves than memory can hold

constexpr std::size_t kTermsAhead = 40;  // of the left matrix, asked for before they are needed

/// The rows of the right matrix that are packed next. Packing reads them far apart, which no
/// hardware foresees, and would wait for each: so the tiles computed before it ask for a few rows
/// each.
struct RowsAhead {
  const float* row;
  std::size_t stride;
  std::size_t count;
  std::size_t rows_per_tile;
  std::size_t tiles_before;  // rows asked for too early would have left the cache again

  [[gnu::noinline]] void ask_for_some() {
    if (tiles_before > 0) {
      --tiles_before;
      return;
    }
    for (std::size_t n = 0; n < rows_per_tile && count > 0; ++n, --count, row += stride) {
      __builtin_prefetch(row, 0, 2);
      __builtin_prefetch(row + kLanes, 0, 2);
      __builtin_prefetch(row + 2 * kLanes - 1, 0, 2);  // unaligned, it touches one line more
    }
  }
};

/// `count` tiles below each other.
struct TileColumn {
  std::size_t count;
  const float* left;  // of the first tile; the next one starts left_tile_stride further on
  std::size_t left_tile_stride;
  std::size_t left_row_stride;
  std::size_t left_term_stride;
  const float* right;
  std::size_t right_term_stride;
  std::size_t right_second;  // where the second vector starts
  std::size_t terms;
  std::size_t grain;
  float* output;
  std::size_t output_row_stride;
  std::size_t output_second;
  const float* bias;  // or null
  bool relu;
  RowsAhead* ahead;  // or null
};

/// One node of each element of a tile.
template <std::size_t Rows, std::size_t Vectors>
struct Node {
  Vector value[Rows][Vectors];

  [[gnu::always_inline]] inline void clear() {
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) value[r][v] = Vector{};
    }
  }

  /// *this = left + *this.
  [[gnu::always_inline]] inline void merge_behind(const Node& left) {
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
        value[r][v] = left.value[r][v] + value[r][v];
      }
    }
  }
};

/// `Leaves` neighbouring leaves of `terms` terms each.
template <std::size_t Leaves, std::size_t Rows, std::size_t Vectors>
[[gnu::always_inline]] inline void add_leaves(const float* left, std::size_t left_row_stride,
                                              std::size_t left_term_stride, const float* right,
                                              std::size_t right_term_stride,
                                              std::size_t right_second, std::size_t terms,
                                              Node<Rows, Vectors>* leaf) {
  MESHPARITY_UNROLL for (std::size_t l = 0; l < Leaves; ++l) leaf[l].clear();
  for (std::size_t t = 0; t < terms; ++t) {
    MESHPARITY_UNROLL for (std::size_t l = 0; l < Leaves; ++l) {
      const float* const x = left + l * terms * left_term_stride;
      __builtin_prefetch(x + kTermsAhead * left_term_stride);
      const float* const w = right + l * terms * right_term_stride;
      Vector factor[Vectors];
      MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
        factor[v] = load(w + v * right_second);
      }
      MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
        const Vector element = broadcast(x[r * left_row_stride]);
        MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
          leaf[l].value[r][v] = fma(element, factor[v], leaf[l].value[r][v]);
        }
      }
    }
    left += left_term_stride;
    right += right_term_stride;
  }
}

/// What becomes of the finished sums of a tile.
template <std::size_t Rows, std::size_t Vectors>
[[gnu::always_inline]] inline void finish(const TileColumn& column, const Node<Rows, Vectors>& sum,
                                          float* output) {
  MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
    const std::size_t start = v * column.output_second;
    const Vector bias = column.bias == nullptr ? Vector{} : load(column.bias + start);
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      Vector y = sum.value[r][v];
      if (column.bias != nullptr) y = y + bias;
      if (column.relu) y = y <= 0.0F ? Vector{} : y;
      store(output + r * column.output_row_stride + start, y);
    }
  }
}

/// `Packed`: the rows of the left matrix lie side by side (left_row_stride = 1).
template <bool Packed, std::size_t Rows, std::size_t Vectors>
void compute_tiles(const TileColumn& tiles) {
  Node<Rows, Vectors> stack[kMergeDepth];  // the nodes so far, left to right
  const TileColumn column = tiles;
  const std::size_t left_row_stride = Packed ? 1 : column.left_row_stride;
  const float* first_left = column.left;
  float* output = column.output;
  for (std::size_t i = 0; i < column.count; ++i) {
    const float* left = first_left;
    const float* right = column.right;
    Node<Rows, Vectors> node;  // NOLINT(cppcoreguidelines-pro-type-member-init): set below
    // Asked for now, the output is there when the sums are finished.
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      __builtin_prefetch(output + r * column.output_row_stride, 1);
      if (Vectors == 2) {
        __builtin_prefetch(output + r * column.output_row_stride + column.output_second, 1);
      }
    }
    if (column.ahead != nullptr) column.ahead->ask_for_some();
    std::size_t depth = 0;
    std::size_t rest = column.terms;
    for (std::size_t leaves = 0;;) {
      std::size_t number = 0;  // of this node among those of its size, from 1
      std::size_t terms = column.grain < rest ? column.grain : rest;
      if (kTileLeaves == 2 && rest / 2 >= column.grain) {
        Node<Rows, Vectors> leaf[2];
        add_leaves<2>(left, left_row_stride, column.left_term_stride, right,
                      column.right_term_stride, column.right_second, terms, leaf);
        leaf[1].merge_behind(leaf[0]);
        node = leaf[1];
        terms *= 2;
        leaves += 2;
        number = leaves / 2;
      } else {
        add_leaves<1>(left, left_row_stride, column.left_term_stride, right,
                      column.right_term_stride, column.right_second, terms, &node);
        number = ++leaves;
      }
      left += terms * column.left_term_stride;
      right += terms * column.right_term_stride;
      rest -= terms;
      // Two equal neighbours merge: as often as the node's number can be halved.
      for (; number % 2 == 0; number /= 2) node.merge_behind(stack[--depth]);
      if (rest == 0) break;
      stack[depth++] = node;
    }
    while (depth > 0) node.merge_behind(stack[--depth]);
    finish(column, node, output);
    first_left += column.left_tile_stride;
    output += Rows * column.output_row_stride;
  }
}

using ComputeTiles = void (*)(const TileColumn& tiles);

/// The instance for tiles of `rows` <= kTileRows rows.
template <bool Packed, std::size_t Vectors, std::size_t... RowsBefore>
ComputeTiles tiles_of(std::size_t rows, std::index_sequence<RowsBefore...> /*all*/) {
  static constexpr ComputeTiles kInstances[] = {compute_tiles<Packed, RowsBefore + 1, Vectors>...};
  return kInstances[rows - 1];
}

void compute(const TileColumn& tiles, std::size_t rows, std::size_t vectors) {
  constexpr auto kAll = std::make_index_sequence<kTileRows>();
  const bool packed = tiles.left_row_stride == 1;
  const ComputeTiles instance =
      vectors == 1 ? (packed ? tiles_of<true, 1>(rows, kAll) : tiles_of<false, 1>(rows, kAll))
                   : (packed ? tiles_of<true, 2>(rows, kAll) : tiles_of<false, 2>(rows, kAll));
  instance(tiles);
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
