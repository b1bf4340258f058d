#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "model/numerics/range.h"

/// The canonical sum, transcribed from its definition as literally as it can be: recursion,
/// std::fma, one term at a time. Slow and plain on purpose: it judges the fast kernels, bit for
/// bit.
namespace meshparity::reference {

/// Term or factor number i of a sum; strides and gathers are the caller's.
using Term = std::function<float(std::size_t)>;

/// sum of a(i) * b(i), i < terms: a leaf is a chain of fused multiply-adds from +0.
/// Every function here throws std::invalid_argument if the grain is 0.
float canonical_dot(std::size_t terms, std::size_t grain, const Term& a, const Term& b);

/// The same of two vectors of one length.
float canonical_dot(std::span<const float> a, std::span<const float> b, std::size_t grain);

/// sum of t(i), i < terms: a leaf is a chain of additions from +0.
float canonical_sum(std::size_t terms, std::size_t grain, const Term& term);
float canonical_sum(std::span<const float> terms, std::size_t grain);

/// Sums along contiguous memory: in a leaf, term i goes to lane i mod 16, each lane is a chain from
/// +0, and the 16 lanes are combined by the same tree as leaves.
float canonical_row_sum(std::size_t terms, std::size_t grain, const Term& term);
float canonical_row_sum(std::span<const float> terms, std::size_t grain);
float canonical_row_dot(std::size_t terms, std::size_t grain, const Term& a, const Term& b);

/// T(0, leaves) over leaves that are already there.
float canonical_tree(std::span<const float> leaves);

/// The largest whole subtrees inside a run of leaves, left to right.
std::vector<Range> canonical_nodes(Range run, std::size_t leaves);

}  // namespace meshparity::reference
