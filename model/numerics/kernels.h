#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "model/numerics/canonical_sum.h"

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
  MatrixView row_range(Range run) const;
  MatrixView column_range(Range run) const;

 private:
  MatrixView() = default;
};

/// What becomes of a product's finished sums, each step rounded on its own: y = sum + bias, then
/// max(y, +0). A NaN stays one.
struct Epilogue {
  std::span<const float> bias;  ///< (columns), or empty
  bool relu = false;
};

/// output (left.rows, right.columns) = left * right, dense. Each element is one canonical sum over
/// left.columns terms with this grain: leaves are chains of fused multiply-adds from +0.
void canonical_product(const MatrixView& left, const MatrixView& right, std::size_t grain,
                       std::span<float> output, const Epilogue& epilogue = {});

/// The epilogue alone, in place, for sums that were finished elsewhere: matrix (rows, columns).
void apply_epilogue(const Epilogue& epilogue, std::size_t rows, std::span<float> matrix);

/// gradient = output > 0 ? gradient : +0, in place, given what the ReLU gave.
void relu_backward(std::span<const float> output, std::span<float> gradient);

/// output = a + b.
void add(std::span<const float> a, std::span<const float> b, std::span<float> output);

/// sums (width) += each of `rows` rows, in order: one leaf of a plain canonical sum.
void add_rows(std::span<const float> matrix, std::size_t rows, std::span<float> sums);

/// Row i of output (indices, columns) = row indices[i] of table (rows, columns).
void gather_rows(std::span<const float> table, std::size_t columns,
                 std::span<const std::int32_t> indices, std::span<float> output);

/// Row indices[i] of table (rows, columns) += row i of matrix (indices, columns), in order.
void scatter_add_rows(std::span<const float> matrix, std::size_t columns,
                      std::span<const std::int32_t> indices, std::span<float> table);

/// The canonical sum of values that lie side by side in memory. A leaf has 16 virtual lanes: its
/// term i goes to lane i mod 16, and the lanes are combined by the same tree.
float canonical_row_sum(std::span<const float> values, std::size_t grain);

/// Softmax of each row of logits (rows, columns), and the two numbers that its loss needs:
///
///     p_j = e^(z_j - largest) / S,  S = sum_j e^(z_j - largest),  loss = log_sum - (z_t - largest)
///
/// The sums over the columns have this grain. `largest` and `log_sum` have room for the rows.
void softmax_rows(std::span<const float> logits, std::size_t rows, std::size_t grain,
                  std::span<float> probabilities, std::span<float> largest,
                  std::span<float> log_sum);

/// output = values * factor.
void scale(std::span<const float> values, float factor, std::span<float> output);

/// w = fma(-lr, clip * gradient, w).
void sgd_update(std::span<const float> gradient, float clip, float lr, std::span<float> values);

/// The sum, modulo 2^64, of a hash of each value's coordinate and bits; the coordinates count up
/// from the first.
std::uint64_t digest(std::span<const float> values, std::uint64_t first_coordinate);

}  // namespace meshparity
