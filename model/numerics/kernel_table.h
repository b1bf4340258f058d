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

/// Matrices are (rows, columns); `inverse_deviation` is that of each row.
struct LayerNormTask {
  const float* input;
  const float* gain;
  const float* bias;
  std::size_t rows;
  std::size_t columns;
  float epsilon;
  const float* mean;               ///< (rows), of every kernel but layer_norm
  const float* inverse_deviation;  ///< likewise
};

/// The numbers that decide what is dropped; see Dropout. Not active: probability 0.
struct DropoutTask {
  std::uint32_t key[2];
  std::uint32_t step;
  std::uint32_t place;
  std::uint64_t first_row;
  float probability;
  float scale;
};

/// AttentionShape, and where everything is.
struct AttentionTask {
  std::size_t samples;
  std::size_t positions;
  std::size_t heads;
  std::size_t head_size;
  std::size_t part;
  std::size_t parts;
  std::size_t first_head;
  std::size_t sequence;
  float scale;
  DropoutTask dropout;
  const float* qkv;
  float* output;
  float* largest;
  float* sums;
  const float* saved_output;  ///< from here on: of the backward pass
  const float* saved_largest;
  const float* saved_sums;
  const float* output_gradient;
  float* qkv_gradient;
  float* scratch;  ///< room for `attention_scratch` floats
};

/// AdamWStep and its arrays of `size` values.
struct AdamWTask {
  std::size_t size;
  float clip;
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float step_size;
  float inverse_root;
  float epsilon;
  float decay;
  bool decays;
  const float* gradient;
  float* first_moment;
  float* second_moment;
  float* values;
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

  void (*layer_norm)(const LayerNormTask& task, float* mean, float* inverse_deviation,
                     float* output);
  void (*layer_norm_again)(const LayerNormTask& task, float* output);
  void (*layer_norm_backward)(const LayerNormTask& task, const float* output_gradient,
                              float* input_gradient);
  void (*add_layer_norm_gain)(const LayerNormTask& task, const float* output_gradient,
                              float* gain_gradient);
  void (*gelu)(std::size_t size, float* values_then_slopes, float* output);
  void (*gelu_backward)(std::size_t size, const float* slopes, float* gradient);
  void (*apply_dropout)(const DropoutTask& task, std::size_t rows, std::size_t columns,
                        float* values);
  void (*attention)(const AttentionTask& task);
  void (*attention_backward)(const AttentionTask& task);
  std::size_t (*attention_scratch)(const AttentionTask& task);
  void (*adamw_update)(const AdamWTask& task);
  float (*largest)(std::size_t size, const float* values);
  void (*powers_of_rows)(std::size_t rows, std::size_t columns, const float* matrix,
                         const float* largest, float* powers);
};

}  // namespace meshparity
