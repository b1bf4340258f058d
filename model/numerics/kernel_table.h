#pragma once

#include <cstddef>
#include <cstdint>

/// The kernels as one instruction set provides them. The sources are the same for all; see simd.h.
/// kernels.h says what they compute, and checks the sizes.
namespace meshparity {

/// output (rows, columns) = left * right, dense: each element one canonical sum over `terms`.
/// Element (r, t) of the left matrix is left[r * left_row_stride + t * left_term_stride], element
/// (t, c) of the right one right[t * right_term_stride + c * right_column_stride].
struct ProductTask {
  const float* left;
  std::size_t left_row_stride;
  std::size_t left_term_stride;
  const float* right;
  std::size_t right_term_stride;
  std::size_t right_column_stride;
  std::size_t rows;
  std::size_t terms;
  std::size_t columns;
  std::size_t grain;
  float* output;
  const float* bias;  ///< (columns), added to the finished sums; or null
  bool relu;          ///< then max(x, +0)
  float* scratch;     ///< room for `product_scratch` floats
};

/// The softmax of each row; matrices are (rows, columns).
struct SoftmaxTask {
  const float* logits;
  std::size_t rows;
  std::size_t columns;
  std::size_t grain;
  float* probabilities;
  float* largest;  ///< (rows) of the logits
  float* log_sum;  ///< (rows) log of the denominator
};

struct KernelTable {
  void (*product)(const ProductTask& task);
  std::size_t (*product_scratch)(const ProductTask& task);
  /// Each row of the matrix, in place: + bias (or null), then max(x, +0) if `relu`.
  void (*finish)(std::size_t rows, std::size_t columns, const float* bias, bool relu,
                 float* matrix);
  void (*relu_backward)(std::size_t size, const float* output, float* gradient);
  void (*add)(std::size_t size, const float* a, const float* b, float* output);
  void (*add_rows)(std::size_t rows, std::size_t columns, const float* matrix, float* sums);
  void (*gather_rows)(std::size_t rows, std::size_t columns, const float* table,
                      const std::int32_t* indices, float* output);
  void (*scatter_add_rows)(std::size_t rows, std::size_t columns, const float* matrix,
                           const std::int32_t* indices, float* table);
  float (*row_sum)(std::size_t size, const float* values, std::size_t grain);
  void (*softmax)(const SoftmaxTask& task);
  void (*scale)(std::size_t size, const float* values, float factor, float* output);
  void (*sgd_update)(std::size_t size, const float* gradient, float clip, float lr, float* values);
  std::uint64_t (*digest)(std::size_t size, const float* values, std::uint64_t coordinate);
};

}  // namespace meshparity
