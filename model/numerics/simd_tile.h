#pragma once

// The micro-kernel of the canonical matrix product, for one instruction set. Included by
// simd_kernels.cpp alone.
//
// Lanes lie along the output and every element of the output has its own accumulator, so neither
// the width of the vectors nor the shape of a tile can change a sum.
//
//     tile:      kTileRows x 2 vectors of the output
//     one leaf:  `grain` fused multiply-adds on each of them, in registers; where there are enough
//                registers, two neighbouring leaves are added side by side and merged there
//     the tree:  a small stack of tiles, merged by a binary counter

#include <utility>

#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kTileVectors = 2;
constexpr std::size_t kPanel = kTileVectors * kLanes;  // columns of a tile
constexpr std::size_t kMergeDepth = 48;  // of the binary counter: more leaves than memory can hold

// How many terms ahead operands are prefetched.
constexpr std::size_t kTermsAhead = 40;  // of the left matrix
constexpr std::size_t kRowsAhead = 16;   // of a right matrix, while it is packed

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
  float* packed_right;       // gets a copy of what is read: [term * kPanel + lane]; or null
  const float* ahead;        // the panel that is packed next, which the tiles prefetch; or null
  std::size_t ahead_stride;  // of its terms: tile i takes ahead_first + i, and every ahead_step-th
  std::size_t ahead_first;
  std::size_t ahead_step;
  std::size_t terms;
  std::size_t grain;
  float* output;
  std::size_t output_row_stride;
  std::size_t output_second;
  const float* bias;  // or null
  bool relu;
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
template <bool PacksRight, std::size_t Leaves, std::size_t Rows, std::size_t Vectors>
[[gnu::always_inline]] inline void add_leaves(const float* left, std::size_t left_row_stride,
                                              std::size_t left_term_stride, const float* right,
                                              std::size_t right_term_stride,
                                              std::size_t right_second, float* packed,
                                              std::size_t terms, Node<Rows, Vectors>* leaf) {
  MESHPARITY_UNROLL for (std::size_t l = 0; l < Leaves; ++l) leaf[l].clear();
  MESHPARITY_UNROLL_TERMS for (std::size_t t = 0; t < terms; ++t) {
    MESHPARITY_UNROLL for (std::size_t l = 0; l < Leaves; ++l) {
      const float* const x = left + l * terms * left_term_stride;
      __builtin_prefetch(x + kTermsAhead * left_term_stride);
      const float* const w = right + l * terms * right_term_stride;
      Vector factor[Vectors];
      MESHPARITY_UNROLL for (std::size_t v = 0; v < Vectors; ++v) {
        factor[v] = load(w + v * right_second);
        if (!PacksRight) continue;
        // Hardware prefetchers do not follow strides this long.
        __builtin_prefetch(w + kRowsAhead * right_term_stride + v * right_second, 0, 2);
        store(packed + l * terms * kPanel + v * kLanes, factor[v]);
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
    if (PacksRight) packed += kPanel;
  }
}

/// A tile's share of the panel that is packed next, of these terms: it comes from memory while the
/// multipliers work. Where the tile that packs it had to wait for it, it took several times as long
/// as the others.
inline void prefetch_ahead(const TileColumn& column, std::size_t tile, std::size_t first,
                           std::size_t terms) {
  if (column.ahead == nullptr) return;
  for (std::size_t t = column.ahead_first + tile; t < terms; t += column.ahead_step) {
    const float* const row = column.ahead + (first + t) * column.ahead_stride;
    __builtin_prefetch(row, 0, 2);
    __builtin_prefetch(row + kPanel - 1, 0, 2);
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

/// `LeftPacked`: the rows of the left matrix lie side by side (left_row_stride = 1).
/// `PacksRight`: the tiles leave a copy of what they read of the right matrix for the tiles that
/// follow. The copy costs nothing: the multiplications take longer.
template <bool LeftPacked, bool PacksRight, std::size_t Rows, std::size_t Vectors>
void compute_tiles(const TileColumn& tiles) {
  Node<Rows, Vectors> stack[kMergeDepth];  // the nodes so far, left to right
  const TileColumn column = tiles;
  const std::size_t left_row_stride = LeftPacked ? 1 : column.left_row_stride;
  const float* first_left = column.left;
  float* output = column.output;
  for (std::size_t i = 0; i < column.count; ++i) {
    const float* left = first_left;
    const float* right = column.right;
    float* packed = column.packed_right;
    Node<Rows, Vectors> node;  // NOLINT(cppcoreguidelines-pro-type-member-init): set below
    // Prefetched now, the output is in the cache when the sums are finished.
    MESHPARITY_UNROLL for (std::size_t r = 0; r < Rows; ++r) {
      __builtin_prefetch(output + r * column.output_row_stride, 1);
      if (Vectors == 2) {
        __builtin_prefetch(output + r * column.output_row_stride + column.output_second, 1);
      }
    }
    std::size_t depth = 0;
    std::size_t rest = column.terms;
    for (std::size_t leaves = 0;;) {
      std::size_t number = 0;  // of this node among those of its size, from 1
      std::size_t terms = column.grain < rest ? column.grain : rest;
      if (kTileLeaves == 2 && rest / 2 >= column.grain) {
        Node<Rows, Vectors> leaf[2];
        add_leaves<PacksRight, 2>(left, left_row_stride, column.left_term_stride, right,
                                  column.right_term_stride, column.right_second, packed, terms,
                                  leaf);
        leaf[1].merge_behind(leaf[0]);
        node = leaf[1];
        terms *= 2;
        leaves += 2;
        number = leaves / 2;
      } else {
        add_leaves<PacksRight, 1>(left, left_row_stride, column.left_term_stride, right,
                                  column.right_term_stride, column.right_second, packed, terms,
                                  &node);
        number = ++leaves;
      }
      if (!PacksRight) prefetch_ahead(column, i, column.terms - rest, terms);
      left += terms * column.left_term_stride;
      right += terms * column.right_term_stride;
      if (PacksRight) packed += terms * kPanel;
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

/// The instance for tiles of `rows` rows, First <= rows <= kTileRows.
template <bool LeftPacked, bool PacksRight, std::size_t Vectors, std::size_t First,
          std::size_t... More>
ComputeTiles tiles_of(std::size_t rows, std::index_sequence<More...> /*all*/) {
  static constexpr ComputeTiles kInstances[] = {
      compute_tiles<LeftPacked, PacksRight, First + More, Vectors>...};
  return kInstances[rows - First];
}

template <bool LeftPacked, bool PacksRight>
ComputeTiles tiles_of(std::size_t rows, std::size_t vectors) {
  // Only tall products pack the right matrix: their first tile, which does, is a full one.
  constexpr std::size_t kFirst = PacksRight ? kTileRows : 1;
  constexpr auto kAll = std::make_index_sequence<kTileRows - kFirst + 1>();
  return vectors == 1 ? tiles_of<LeftPacked, PacksRight, 1, kFirst>(rows, kAll)
                      : tiles_of<LeftPacked, PacksRight, 2, kFirst>(rows, kAll);
}

void compute(const TileColumn& tiles, std::size_t rows, std::size_t vectors) {
  const bool left_packed = tiles.left_row_stride == 1;
  const ComputeTiles instance = tiles.packed_right == nullptr
                                    ? (left_packed ? tiles_of<true, false>(rows, vectors)
                                                   : tiles_of<false, false>(rows, vectors))
                                    : (left_packed ? tiles_of<true, true>(rows, vectors)
                                                   : tiles_of<false, true>(rows, vectors));
  instance(tiles);
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
