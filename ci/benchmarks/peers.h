#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ci/benchmarks/paired.h"

namespace meshparity::bench {

/// output (rows, columns) = left * right, dense and row-major. A transposed operand is stored as
/// its transpose: left as (terms, rows), right as (columns, terms).
struct Operands {
  std::size_t rows = 0;
  std::size_t terms = 0;
  std::size_t columns = 0;
  bool left_transposed = false;
  bool right_transposed = false;
  const float* left = nullptr;
  const float* right = nullptr;
  float* output = nullptr;
};

/// A library that computes the same product in an order of its own.
struct Peer {
  std::string name;
  Action multiply;
};

/// Those that this program was built with and that can compute this product, on one thread,
/// prepared: whatever a library can do once for many products of a shape is done.
std::vector<Peer> peers_for(const Operands& operands);

}  // namespace meshparity::bench
