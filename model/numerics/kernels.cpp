#include "model/numerics/kernels.h"

#include <cstdint>
#include <stdexcept>
#include <utility>

#include "model/numerics/aligned_floats.h"
#include "model/numerics/isa.h"
#include "model/numerics/size_check.h"

namespace meshparity {
namespace {

/// Memory that the kernels of this thread use between them; it only grows.
float* scratch_of(std::size_t floats) {
  thread_local AlignedFloats memory;
  if (memory.size() < floats) memory.resize(floats);
  return memory.data();
}

}  // namespace

MatrixView::MatrixView(std::span<const float> values, std::size_t row_total,
                       std::size_t column_total)
    : data(values.data()), rows(row_total), columns(column_total), row_stride(column_total) {
  if (values.size() != rows * columns) throw std::logic_error("MatrixView: wrong number of values");
}

MatrixView MatrixView::transposed() const {
  MatrixView view = *this;
  std::swap(view.rows, view.columns);
  std::swap(view.row_stride, view.column_stride);
  return view;
}

MatrixView MatrixView::row_range(Range run) const {
  MatrixView view = *this;
  view.data += run.begin * row_stride;
  view.rows = run.size();
  return view;
}

MatrixView MatrixView::column_range(Range run) const {
  MatrixView view = *this;
  view.data += run.begin * column_stride;
  view.columns = run.size();
  return view;
}

void canonical_product(const MatrixView& left, const MatrixView& right, std::size_t grain,
                       std::span<float> output, const Epilogue& epilogue) {
  const bool with_bias = !epilogue.bias.empty();
  require_sizes(left.columns == right.rows && output.size() == left.rows * right.columns &&
                    (!with_bias || epilogue.bias.size() == right.columns),
                "canonical_product");
  if (output.empty()) return;
  ProductTask task{.left = left.data,
                   .left_row_stride = left.row_stride,
                   .left_term_stride = left.column_stride,
                   .right = right.data,
                   .right_term_stride = right.row_stride,
                   .right_column_stride = right.column_stride,
                   .rows = left.rows,
                   .terms = left.columns,
                   .columns = right.columns,
                   .grain = grain,
                   .output = output.data(),
                   .bias = with_bias ? epilogue.bias.data() : nullptr,
                   .relu = epilogue.relu,
                   .scratch = nullptr};
  const KernelTable& kernels = kernel_table();
  task.scratch = scratch_of(kernels.product_scratch(task));
  kernels.product(task);
}

void apply_epilogue(const Epilogue& epilogue, std::size_t rows, std::span<float> matrix) {
  if (rows == 0) return;
  const std::size_t columns = matrix.size() / rows;
  if (!epilogue.bias.empty()) require_sizes(epilogue.bias.size() == columns, "apply_epilogue");
  kernel_table().finish(rows, columns, epilogue.bias.empty() ? nullptr : epilogue.bias.data(),
                        epilogue.relu, matrix.data());
}

void relu_backward(std::span<const float> output, std::span<float> gradient) {
  require_sizes(output.size() == gradient.size(), "relu_backward");
  kernel_table().relu_backward(output.size(), output.data(), gradient.data());
}

void add(std::span<const float> a, std::span<const float> b, std::span<float> output) {
  require_sizes(a.size() == output.size() && b.size() == output.size(), "add");
  kernel_table().add(output.size(), a.data(), b.data(), output.data());
}

void add_rows(std::span<const float> matrix, std::size_t rows, std::span<float> sums) {
  require_sizes(matrix.size() == rows * sums.size(), "add_rows");
  kernel_table().add_rows(rows, sums.size(), matrix.data(), sums.data());
}

void gather_rows(std::span<const float> table, std::size_t columns,
                 std::span<const std::int32_t> indices, std::span<float> output) {
  require_sizes(output.size() == indices.size() * columns, "gather_rows");
  kernel_table().gather_rows(indices.size(), columns, table.data(), indices.data(), output.data());
}

void scatter_add_rows(std::span<const float> matrix, std::size_t columns,
                      std::span<const std::int32_t> indices, std::span<float> table) {
  require_sizes(matrix.size() == indices.size() * columns, "scatter_add_rows");
  kernel_table().scatter_add_rows(indices.size(), columns, matrix.data(), indices.data(),
                                  table.data());
}

float canonical_row_sum(std::span<const float> values, std::size_t grain) {
  return kernel_table().row_sum(values.size(), values.data(), grain);
}

void softmax_rows(std::span<const float> logits, std::size_t rows, std::size_t grain,
                  std::span<float> probabilities, std::span<float> largest,
                  std::span<float> log_sum) {
  if (rows == 0) return;
  require_sizes(probabilities.size() == logits.size() && largest.size() >= rows &&
                    log_sum.size() >= rows && logits.size() % rows == 0,
                "softmax_rows");
  kernel_table().softmax({.logits = logits.data(),
                          .rows = rows,
                          .columns = logits.size() / rows,
                          .grain = grain,
                          .probabilities = probabilities.data(),
                          .largest = largest.data(),
                          .log_sum = log_sum.data()});
}

void scale(std::span<const float> values, float factor, std::span<float> output) {
  require_sizes(values.size() == output.size(), "scale");
  kernel_table().scale(values.size(), values.data(), factor, output.data());
}

void sgd_update(std::span<const float> gradient, float clip, float lr, std::span<float> values) {
  require_sizes(gradient.size() == values.size(), "sgd_update");
  kernel_table().sgd_update(values.size(), gradient.data(), clip, lr, values.data());
}

std::uint64_t digest(std::span<const float> values, std::uint64_t first_coordinate) {
  return kernel_table().digest(values.size(), values.data(), first_coordinate);
}

}  // namespace meshparity
