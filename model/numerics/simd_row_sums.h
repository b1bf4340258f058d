#pragma once

// Sums of computed terms along a row, for one instruction set. Only the kernels include this.

#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kVirtualLanes = 16;
constexpr std::size_t kLaneVectors = kVirtualLanes / kLanes;

/// The 16 virtual lanes' sums, combined by the tree.
[[gnu::always_inline]] inline float sum_of_lanes(const Vector (&sum)[kLaneVectors]) {
  float lane[kVirtualLanes];
  for (std::size_t v = 0; v < kLaneVectors; ++v) store(lane + v * kLanes, sum[v]);
  for (std::size_t span = 1; span < kVirtualLanes; span *= 2) {
    for (std::size_t l = 0; l < kVirtualLanes; l += 2 * span) lane[l] = lane[l] + lane[l + span];
  }
  return lane[0];
}

/// One leaf of a sum of products: add(sum, i, lanes) gives the sum with the terms from i on added.
/// Lanes that the last terms do not reach stay as they are: a lane can be -0, and adding +0 would
/// change it.
template <typename Add>
[[gnu::always_inline]] inline float leaf_of_row(std::size_t size, Add add) {
  Vector sum[kLaneVectors]{};
  std::size_t i = 0;
  for (; i + kVirtualLanes <= size; i += kVirtualLanes) {
    MESHPARITY_UNROLL for (std::size_t v = 0; v < kLaneVectors; ++v) {
      sum[v] = add(sum[v], i + v * kLanes, AllLanes{});
    }
  }
  for (std::size_t v = 0; i < size; ++v, i += kLanes) {
    if (size - i >= kLanes) {
      sum[v] = add(sum[v], i, AllLanes{});
    } else {
      const Vector next = add(sum[v], i, FirstLanes{size - i});
      for (std::size_t lane = 0; lane < size - i; ++lane) sum[v][lane] = next[lane];
    }
  }
  return sum_of_lanes(sum);
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
