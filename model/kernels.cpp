#include "model/kernels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

// The same source for several instruction sets, chosen when the program starts. The order of every
// sum is the source's own, so all of them give the same bits.
#if defined(__x86_64__) && !defined(MESHPARITY_SINGLE_TARGET)
#define MESHPARITY_KERNEL __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define MESHPARITY_KERNEL
#endif

namespace meshparity {
namespace {

constexpr std::size_t kBlock = 64;  // output elements that are summed together
constexpr std::size_t kDepth = 64;  // of the binary counter: leaves < 2^63

/// `columns` <= kBlock neighbouring elements of one output row: the canonical sum over `terms`
/// terms left[k * left_stride] * right[k * right_stride + column].
MESHPARITY_KERNEL
void product_block(const float* left, std::size_t left_stride, const float* right,
                   std::size_t right_stride, std::size_t terms, std::size_t grain,
                   std::size_t columns, float* output) {
  float partial[kDepth][kBlock];  // the nodes so far, left to right
  std::size_t depth = 0;
  const auto merge = [&] {
    --depth;
    for (std::size_t c = 0; c < columns; ++c) {
      partial[depth - 1][c] = partial[depth - 1][c] + partial[depth][c];
    }
  };
  std::size_t begin = 0;
  for (std::size_t leaf = 1; begin < terms || leaf == 1; ++leaf) {
    const std::size_t end = std::min(begin + grain, terms);
    float* const sum = partial[depth];
    std::fill_n(sum, columns, 0.0F);
    for (std::size_t k = begin; k < end; ++k) {
      const float factor = left[k * left_stride];
      const float* const row = right + k * right_stride;
      for (std::size_t c = 0; c < columns; ++c) sum[c] = std::fma(factor, row[c], sum[c]);
    }
    ++depth;
    // Two equal neighbours merge: as often as the leaf's number can be halved.
    for (std::size_t n = leaf; n % 2 == 0; n /= 2) merge();
    begin = end;
  }
  while (depth > 1) merge();
  std::copy_n(partial[0], columns, output);
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

MatrixView MatrixView::row_run(Run run) const {
  MatrixView view = *this;
  view.data += run.begin * row_stride;
  view.rows = run.size();
  return view;
}

MatrixView MatrixView::column_run(Run run) const {
  MatrixView view = *this;
  view.data += run.begin * column_stride;
  view.columns = run.size();
  return view;
}

void canonical_product(const MatrixView& left, const MatrixView& right, std::size_t grain,
                       std::span<float> output) {
  if (left.columns != right.rows || output.size() != left.rows * right.columns) {
    throw std::logic_error("canonical_product: shapes do not fit");
  }
  if (right.column_stride != 1) {
    throw std::logic_error("canonical_product: the right matrix must have contiguous rows");
  }
  for (std::size_t r = 0; r < left.rows; ++r) {
    for (std::size_t c = 0; c < right.columns; c += kBlock) {
      product_block(left.data + r * left.row_stride, left.column_stride, right.data + c,
                    right.row_stride, left.columns, grain, std::min(kBlock, right.columns - c),
                    output.data() + r * right.columns + c);
    }
  }
}

void transpose(const MatrixView& matrix, std::span<float> output) {
  for (std::size_t r = 0; r < matrix.rows; ++r) {
    for (std::size_t c = 0; c < matrix.columns; ++c) {
      output[c * matrix.rows + r] = matrix.data[r * matrix.row_stride + c * matrix.column_stride];
    }
  }
}

void add_rows(std::span<const float> matrix, std::size_t rows, std::span<float> sums) {
  for (std::size_t r = 0; r < rows; ++r) {
    const float* const row = matrix.data() + r * sums.size();
    for (std::size_t c = 0; c < sums.size(); ++c) sums[c] = sums[c] + row[c];
  }
}

void add_bias(std::span<float> matrix, std::size_t rows, std::span<const float> bias) {
  for (std::size_t r = 0; r < rows; ++r) {
    float* const row = matrix.data() + r * bias.size();
    for (std::size_t c = 0; c < bias.size(); ++c) row[c] = row[c] + bias[c];
  }
}

void relu_forward(std::span<float> values) {
  for (float& value : values) value = value <= 0.0F ? 0.0F : value;
}

void relu_backward(std::span<const float> output, std::span<float> gradient) {
  for (std::size_t i = 0; i < output.size(); ++i)
    gradient[i] = output[i] > 0.0F ? gradient[i] : 0.0F;
}

float canonical_row_sum(std::span<const float> values, std::size_t grain) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kDepth> partial{};
  std::size_t depth = 0;
  const auto merge = [&] {
    --depth;
    partial[depth - 1] = partial[depth - 1] + partial[depth];
  };
  std::size_t begin = 0;
  for (std::size_t leaf = 1; begin < values.size() || leaf == 1; ++leaf) {
    const std::size_t end = std::min(begin + grain, values.size());
    std::array<float, kLanes> lanes{};
    for (std::size_t i = begin; i < end; ++i) {
      float& lane = lanes[(i - begin) % kLanes];
      lane = lane + values[i];
    }
    for (std::size_t span = 1; span < kLanes; span *= 2) {
      for (std::size_t i = 0; i < kLanes; i += 2 * span) lanes[i] = lanes[i] + lanes[i + span];
    }
    partial[depth++] = lanes[0];
    for (std::size_t n = leaf; n % 2 == 0; n /= 2) merge();
    begin = end;
  }
  while (depth > 1) merge();
  return partial[0];
}

MESHPARITY_KERNEL
void sgd_update(std::span<const float> gradient, float lr, std::span<float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::fma(-lr, gradient[i], values[i]);
  }
}

}  // namespace meshparity
