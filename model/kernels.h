#pragma once

#include <cstddef>
#include <span>

#include "model/canonical_sum.h"

/// The loops that do the arithmetic, each written once, in the order of the canonical sum.
namespace meshparity {

/// A matrix to read: element (r, c) is data[r * row_stride + c * column_stride].
struct MatrixView {
  const float* data = nullptr;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t row_stride = 0;
  std::size_t column_stride = 1;

  /// A dense row-major matrix. Throws std::logic_error if there are not row_total * column_total
  /// values.
  MatrixView(std::span<const float> values, std::size_t row_total, std::size_t column_total);

  MatrixView transposed() const;
  MatrixView row_run(Run run) const;
  MatrixView column_run(Run run) const;

 private:
  MatrixView() = default;
};

/// output (left.rows, right.columns) = left * right, dense. Each element is one canonical sum over
/// left.columns terms with this grain: leaves are chains of fused multiply-adds from +0.
/// right.column_stride must be 1: lanes lie along the output, so their number never changes a sum.
void canonical_product(const MatrixView& left, const MatrixView& right, std::size_t grain,
                       std::span<float> output);

/// output (columns, rows) = matrix^T, dense.
void transpose(const MatrixView& matrix, std::span<float> output);

/// sums (width) += each of `rows` rows, in order: one leaf of a plain canonical sum.
void add_rows(std::span<const float> matrix, std::size_t rows, std::span<float> sums);

/// Each of `rows` rows + bias, in place.
void add_bias(std::span<float> matrix, std::size_t rows, std::span<const float> bias);

/// max(x, +0), in place; NaN stays NaN.
void relu_forward(std::span<float> values);

/// gradient = output > 0 ? gradient : +0, in place, given what relu_forward gave.
void relu_backward(std::span<const float> output, std::span<float> gradient);

/// The canonical sum of values that lie side by side in memory. A leaf has 16 virtual lanes: its
/// term i goes to lane i mod 16, and the lanes are combined by the same tree.
float canonical_row_sum(std::span<const float> values, std::size_t grain);

/// w = fma(-lr, gradient, w).
void sgd_update(std::span<const float> gradient, float lr, std::span<float> values);

}  // namespace meshparity
