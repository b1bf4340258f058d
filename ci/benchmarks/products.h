#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ci/benchmarks/peers.h"
#include "model/numerics/aligned_floats.h"

namespace meshparity::bench {

/// A matrix product as a linear layer's training computes it.
struct Product {
  enum class Kind { forward, input_gradient, weight_gradient };

  std::string name;
  Kind kind = Kind::forward;
  std::size_t rows = 0;
  std::size_t terms = 0;
  std::size_t columns = 0;
  std::size_t grain = 1;

  double flops() const;
};

/// A layer's sizes, and the grains of its three products.
struct LayerSizes {
  std::string name;
  std::size_t samples = 0;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  std::size_t input_grain = 64;   ///< forward: sums over the inputs
  std::size_t output_grain = 64;  ///< input gradient: sums over the outputs
  std::size_t batch_grain = 64;   ///< weight gradient: sums over the samples
};

/// Y = X W, dX = dY W^T and dW = X^T dY.
std::vector<Product> products_of(const LayerSizes& layer);

/// A product's operands, filled with random values in [-1, 1), and room for its result.
class ProductData {
 public:
  explicit ProductData(const Product& product);

  /// This project's product, with the product's grain or another.
  void multiply(std::size_t grain);

  /// The same for peers.
  const Operands& operands() const { return operands_; }
  std::span<const float> output() const { return output_; }

 private:
  Operands operands_;
  AlignedFloats left_;  // as the trainers' matrices are
  AlignedFloats right_;
  AlignedFloats output_;
};

/// Each of the three compares what it names and prints measurements. Only products whose name holds
/// `filter` are measured.
void measure_products(const std::string& filter);  ///< with the peers'
void measure_tree(const std::string& filter);      ///< with the same product in one chain
void measure_peak(const std::string& filter);      ///< with what one core can do at most

}  // namespace meshparity::bench
