#pragma once

// Brings rows into an order in which those of one term lie side by side, for one instruction set.
// Only the kernels include this.

#include <utility>

#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

/// (a0 b0 a1 b1 ...): its lower half into a, its upper half into b.
template <std::size_t... Lane>
[[gnu::always_inline]] inline void interleave(Vector& a, Vector& b,
                                              std::index_sequence<Lane...> /*all*/) {
  const Vector lower = __builtin_shufflevector(a, b, (Lane / 2 + Lane % 2 * kLanes)...);
  b = __builtin_shufflevector(a, b, (Lane / 2 + kLanes / 2 + Lane % 2 * kLanes)...);
  a = lower;
}

/// Transposes Rows x kLanes values: packed[t * stride + i] = rows[i][first + t].
template <std::size_t Rows>
[[gnu::always_inline]] inline void transpose_block(const float* const (&rows)[Rows],
                                                   std::size_t first, float* packed,
                                                   std::size_t stride) {
  Vector vector[Rows];
  MESHPARITY_UNROLL for (std::size_t i = 0; i < Rows; ++i) vector[i] = load(rows[i] + first);
  // Each round is a perfect shuffle of all values; after log2(Rows) of them, those of one term lie
  // side by side.
  MESHPARITY_UNROLL for (std::size_t round = 1; round < Rows; round *= 2) {
    Vector next[Rows];
    MESHPARITY_UNROLL for (std::size_t i = 0; i < Rows / 2; ++i) {
      next[2 * i] = vector[i];
      next[2 * i + 1] = vector[i + Rows / 2];
      interleave(next[2 * i], next[2 * i + 1], std::make_index_sequence<kLanes>());
    }
    MESHPARITY_UNROLL for (std::size_t i = 0; i < Rows; ++i) vector[i] = next[i];
  }
  MESHPARITY_UNROLL for (std::size_t t = 0; t < kLanes; ++t) {
    constexpr std::size_t kTerms = kLanes / Rows;  // in a vector
    const auto* const term = reinterpret_cast<const float*>(&vector[t / kTerms]);
    __builtin_memcpy(packed + t * stride, term + t % kTerms * Rows, Rows * sizeof(float));
  }
}

/// packed[t * packed_stride + i] = element t of row i, for Rows rows; those beyond `rows` repeat
/// the last. With a stride below Rows the surplus rows of a term are overwritten by the next term.
/// Those of the last term remain behind the packed values: there must be room for them. `readable`
/// rows, at least `rows`, may be read.
template <std::size_t Rows>
void pack_rows(const float* matrix, std::size_t rows, std::size_t readable, std::size_t row_stride,
               std::size_t terms, std::size_t term_stride, float* packed,
               std::size_t packed_stride) {
  if (row_stride == 1) {
    for (std::size_t t = 0; t < terms; ++t) {
      const float* const from = matrix + t * term_stride;
      const Vector term = readable < kLanes ? load_first(from, rows) : load(from);
      __builtin_memcpy(packed + t * packed_stride, &term, Rows * sizeof(float));
    }
    return;
  }
  const float* row[Rows];
  for (std::size_t i = 0; i < Rows; ++i) row[i] = matrix + (i < rows ? i : rows - 1) * row_stride;
  std::size_t t = 0;
  if (term_stride == 1) {
    for (; t + kLanes <= terms; t += kLanes) {
      transpose_block(row, t, packed + t * packed_stride, packed_stride);
    }
  }
  for (; t < terms; ++t) {
    for (std::size_t i = 0; i < Rows; ++i) packed[t * packed_stride + i] = row[i][t * term_stride];
  }
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
