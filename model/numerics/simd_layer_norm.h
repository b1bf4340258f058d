#pragma once

// Layer norm for one instruction set. Only simd_kernels.cpp includes this.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd_elementwise.h"
#include "model/numerics/simd_row_sums.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

/// One row of `output`, given the row's moments.
[[gnu::always_inline]] inline void normalize_row(const LayerNormTask& task, std::size_t row,
                                                 float mean, float inverse_deviation,
                                                 float* output) {
  const float* const x = task.input + row * task.columns;
  float* const y = output + row * task.columns;
  for_each_vector(task.columns, [&](std::size_t c, auto lanes) {
    const Vector n = (lanes.load(x + c) - mean) * inverse_deviation;
    lanes.store(y + c, n * lanes.load(task.gain + c) + lanes.load(task.bias + c));
  });
}

void layer_norm(const LayerNormTask& task, float* mean, float* inverse_deviation, float* output) {
  const float per_column = 1.0F / static_cast<float>(task.columns);
  for (std::size_t row = 0; row < task.rows; ++row) {
    const float* const x = task.input + row * task.columns;
    const float of_row = sum_of_leaf(task.columns, x) * per_column;
    const float squares = leaf_of_row(task.columns, [&](Vector sum, std::size_t c, auto lanes) {
      const Vector d = lanes.load(x + c) - of_row;
      return fma(d, d, sum);
    });
    const Vector variance = broadcast(squares * per_column + task.epsilon);
    mean[row] = of_row;
    inverse_deviation[row] = 1.0F / square_root(variance)[0];
    normalize_row(task, row, mean[row], inverse_deviation[row], output);
  }
}

void layer_norm_again(const LayerNormTask& task, float* output) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    normalize_row(task, row, task.mean[row], task.inverse_deviation[row], output);
  }
}

void layer_norm_backward(const LayerNormTask& task, const float* output_gradient,
                         float* input_gradient) {
  const float per_column = 1.0F / static_cast<float>(task.columns);
  for (std::size_t row = 0; row < task.rows; ++row) {
    const float* const x = task.input + row * task.columns;
    const float* const dy = output_gradient + row * task.columns;
    float* const dx = input_gradient + row * task.columns;
    const float mean = task.mean[row];
    const float inverse_deviation = task.inverse_deviation[row];
    const auto g = [&](std::size_t c, auto lanes) {
      return lanes.load(dy + c) * lanes.load(task.gain + c);
    };
    const auto n = [&](std::size_t c, auto lanes) {
      return (lanes.load(x + c) - mean) * inverse_deviation;
    };
    const float a =
        per_column * leaf_of_row(task.columns, [&](Vector sum, std::size_t c, auto lanes) {
          return sum + g(c, lanes);
        });
    const float b =
        per_column * leaf_of_row(task.columns, [&](Vector sum, std::size_t c, auto lanes) {
          return fma(g(c, lanes), n(c, lanes), sum);
        });
    for_each_vector(task.columns, [&](std::size_t c, auto lanes) {
      lanes.store(dx + c, ((g(c, lanes) - a) - n(c, lanes) * b) * inverse_deviation);
    });
  }
}

void add_layer_norm_gain(const LayerNormTask& task, const float* output_gradient,
                         float* gain_gradient) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    const float* const x = task.input + row * task.columns;
    const float* const dy = output_gradient + row * task.columns;
    const float mean = task.mean[row];
    const float inverse_deviation = task.inverse_deviation[row];
    for_each_vector(task.columns, [&](std::size_t c, auto lanes) {
      const Vector n = (lanes.load(x + c) - mean) * inverse_deviation;
      const Vector sum = lanes.load(gain_gradient + c);
      lanes.store(gain_gradient + c, fma(lanes.load(dy + c), n, sum));
    });
  }
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
