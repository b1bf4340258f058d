#pragma once

#include <cstddef>

#include "oracle/operations.h"

namespace meshparity {

/// Attention as it should be, and as it is got wrong. Without bounds.
struct AttentionVariant {
  AttentionHeads sizes;
  std::size_t future = 0;   ///< positions that each one sees after itself
  double score_factor = 1;  ///< beside 1 / sqrt(size of a head)
  std::size_t groups = 1;   ///< of heads: columns are query | key | value of one, then the next

  /// query | key | value (rows, 3 C) -> (rows, C).
  BoundedMatrix forward(const BoundedMatrix& qkv) const;
  /// -> (rows, 3 C).
  BoundedMatrix backward(const BoundedMatrix& qkv, const BoundedMatrix& dy) const;
};

}  // namespace meshparity
