#include "model/kernels.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float at(const MatrixView& m, std::size_t row, std::size_t column) {
  return m.data[row * m.row_stride + column * m.column_stride];
}

void require_same(float actual, float expected) {
  if (!same_float(actual, expected)) RC_ASSERT(actual == expected);
}

/// A rows x columns window into a larger matrix of random values.
struct Window {
  std::vector<float> memory;
  std::size_t memory_rows;
  std::size_t memory_columns;
  Run rows;
  Run columns;

  Window(std::size_t row_total, std::size_t column_total, const rc::Gen<float>& kind) {
    const std::size_t above = *from_to(0, 2);
    const std::size_t before = *from_to(0, 2);
    rows = {above, above + row_total};
    columns = {before, before + column_total};
    memory_rows = rows.end + *from_to(0, 2);
    memory_columns = columns.end + *from_to(0, 2);
    memory = floats(memory_rows * memory_columns, kind);
  }

  MatrixView view() const {
    return MatrixView(memory, memory_rows, memory_columns).row_run(rows).column_run(columns);
  }
};

RC_GTEST_PROP(Kernels, ProductHasTheBitsOfTheDefinition, ()) {
  const std::size_t rows = *from_to(0, 3);
  const std::size_t columns = *rc::gen::oneOf(from_to(0, 9), from_to(60, 70), from_to(120, 140));
  const std::size_t terms = *rc::gen::oneOf(from_to(0, 5), from_to(0, 40), from_to(90, 130));
  const std::size_t grain = *rc::gen::oneOf(rc::gen::just<std::size_t>(1), from_to(1, 20),
                                            from_to(terms + 1, terms + 10));
  const bool transposed = *rc::gen::arbitrary<bool>();
  const rc::Gen<float> kind = *random::kind_of_floats();
  const Window left_window = transposed ? Window(terms, rows, kind) : Window(rows, terms, kind);
  const Window right_window(terms, columns, kind);
  const MatrixView left = transposed ? left_window.view().transposed() : left_window.view();
  const MatrixView right = right_window.view();
  RC_CLASSIFY(rows == 0, "no rows");
  RC_CLASSIFY(columns == 1, "one column");
  RC_CLASSIFY(columns > 64, "more than one block of columns");
  RC_CLASSIFY(terms == 0, "no terms");
  RC_CLASSIFY(grain == 1, "grain 1");
  RC_CLASSIFY(grain >= terms, "one leaf");

  constexpr float kGuard = 12345.0F;
  std::vector<float> output(rows * columns + 1, kGuard);
  canonical_product(left, right, grain, std::span(output).first(rows * columns));
  RC_ASSERT(output.back() == kGuard);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      const float expected = reference::canonical_dot(
          terms, grain, [&](std::size_t k) { return at(left, r, k); },
          [&](std::size_t k) { return at(right, k, c); });
      require_same(output[r * columns + c], expected);
    }
  }
}

TEST(Kernels, ProductKeepsSubnormals) {
  const std::vector<float> left{0x1p-75F, 0x1p-75F};
  const std::vector<float> right{0x1p-74F, 0x1p-75F};
  std::vector<float> output(1);
  canonical_product(MatrixView(left, 1, 2), MatrixView(right, 2, 1), 2, output);
  EXPECT_EQ(output[0], 0x1p-148F);  // 2^-149 + 2^-150 is a tie, and 2^-148 is even
  canonical_product(MatrixView(left, 1, 2), MatrixView(right, 2, 1), 1, output);
  EXPECT_EQ(output[0], 0x1p-149F);  // 2^-150 alone is a tie, and 0 is even
}

TEST(Kernels, ProductStartsAtPlusZero) {
  const std::vector<float> zeros{-0.0F, -0.0F};
  const std::vector<float> ones{1.0F, 1.0F};
  std::vector<float> output(1, 7.0F);
  canonical_product(MatrixView(zeros, 1, 2), MatrixView(ones, 2, 1), 1, output);
  EXPECT_TRUE(same_float(output[0], 0.0F));
  output[0] = 7.0F;
  canonical_product(MatrixView({}, 1, 0), MatrixView({}, 0, 1), 1, output);
  EXPECT_TRUE(same_float(output[0], 0.0F));
}

TEST(Kernels, ProductRefusesShapesThatDoNotFit) {
  const std::vector<float> six(6);
  std::vector<float> output(4);
  const MatrixView two_three(six, 2, 3);
  const MatrixView three_two(six, 3, 2);
  EXPECT_NO_THROW(canonical_product(two_three, three_two, 1, output));
  EXPECT_THROW(canonical_product(two_three, two_three, 1, output), std::logic_error);
  EXPECT_THROW(canonical_product(two_three, three_two, 1, std::span(output).first(3)),
               std::logic_error);
  EXPECT_THROW(canonical_product(two_three, two_three.transposed(), 1, output), std::logic_error);
  EXPECT_THROW(MatrixView(six, 2, 2), std::logic_error);
}

RC_GTEST_PROP(Kernels, ViewsShowTheRightElements, ()) {
  const std::size_t rows = *from_to(1, 5);
  const std::size_t columns = *from_to(1, 5);
  const std::vector<float> values = floats(rows * columns, random::moderate_float());
  const MatrixView whole(values, rows, columns);
  const Run some_rows = random::random_run(rows);
  const Run some_columns = random::random_run(columns);
  const MatrixView part = whole.row_run(some_rows).column_run(some_columns);
  const MatrixView turned = part.transposed();
  RC_ASSERT(part.rows == some_rows.size());
  RC_ASSERT(part.columns == some_columns.size());
  RC_ASSERT(turned.rows == part.columns);
  RC_ASSERT(turned.columns == part.rows);
  for (std::size_t r = 0; r < part.rows; ++r) {
    for (std::size_t c = 0; c < part.columns; ++c) {
      const float expected = values[(some_rows.begin + r) * columns + some_columns.begin + c];
      RC_ASSERT(at(part, r, c) == expected);
      RC_ASSERT(at(turned, c, r) == expected);
    }
  }
  std::vector<float> copy(part.rows * part.columns);
  transpose(part, copy);
  for (std::size_t r = 0; r < part.rows; ++r) {
    for (std::size_t c = 0; c < part.columns; ++c) {
      RC_ASSERT(copy[c * part.rows + r] == at(part, r, c));
    }
  }
}

RC_GTEST_PROP(Kernels, RowSumHasTheBitsOfTheDefinition, ()) {
  const std::size_t size = *rc::gen::oneOf(from_to(0, 20), from_to(0, 200));
  const std::size_t grain =
      *rc::gen::oneOf(rc::gen::just<std::size_t>(1), from_to(1, 40), from_to(1, 220));
  const std::vector<float> values = floats(size, *random::kind_of_floats());
  RC_CLASSIFY(grain % 16 != 0, "lanes of different lengths");
  require_same(canonical_row_sum(values, grain), reference::canonical_row_sum(values, grain));
}

RC_GTEST_PROP(Kernels, AddedRowsAreALeaf, ()) {
  const std::size_t rows = *from_to(0, 9);
  const std::size_t columns = *from_to(0, 40);
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> matrix = floats(rows * columns, kind);
  std::vector<float> sums(columns, 0.0F);
  add_rows(matrix, rows, sums);
  for (std::size_t c = 0; c < columns; ++c) {
    require_same(sums[c], reference::canonical_sum(rows, rows + 1, [&](std::size_t r) {
                   return matrix[r * columns + c];
                 }));
  }
}

RC_GTEST_PROP(Kernels, BiasIsAddedToEveryRow, ()) {
  const std::size_t rows = *from_to(0, 5);
  const std::size_t columns = *from_to(0, 40);
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> before = floats(rows * columns, kind);
  const std::vector<float> bias = floats(columns, kind);
  std::vector<float> matrix = before;
  add_bias(matrix, rows, bias);
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    require_same(matrix[i], before[i] + bias[i % columns]);
  }
}

RC_GTEST_PROP(Kernels, ReluKeepsWhatIsAboveZero, ()) {
  const std::size_t size = *from_to(0, 40);
  const std::vector<float> input = floats(size, random::special_float());
  const std::vector<float> gradient = floats(size, random::special_float());
  std::vector<float> output = input;
  relu_forward(output);
  std::vector<float> input_gradient = gradient;
  relu_backward(output, input_gradient);
  for (std::size_t i = 0; i < size; ++i) {
    const bool above = input[i] > 0.0F;
    require_same(output[i], std::isnan(input[i]) ? kNan : (above ? input[i] : 0.0F));
    require_same(input_gradient[i], above ? gradient[i] : 0.0F);
  }
}

TEST(Kernels, ReluAtTheEdges) {
  std::vector<float> values{-0.0F, 0.0F, kNan, -kInfinity, kInfinity, -0x1p-149F, 0x1p-149F};
  relu_forward(values);
  const std::vector<float> expected{0.0F, 0.0F, kNan, 0.0F, kInfinity, 0.0F, 0x1p-149F};
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(same_float(values[i], expected[i])) << i << ": " << values[i];
  }
  std::vector<float> gradient(values.size(), kNan);
  relu_backward(values, gradient);
  const std::vector<float> passed{0.0F, 0.0F, 0.0F, 0.0F, kNan, 0.0F, kNan};
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_TRUE(same_float(gradient[i], passed[i])) << i << ": " << gradient[i];
  }
}

RC_GTEST_PROP(Kernels, UpdateIsOneFusedMultiplyAdd, ()) {
  const std::size_t size = *from_to(0, 70);
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> before = floats(size, kind);
  const std::vector<float> gradient = floats(size, kind);
  const float lr = *random::finite_float();
  std::vector<float> values = before;
  sgd_update(gradient, lr, values);
  for (std::size_t i = 0; i < size; ++i) {
    require_same(values[i], std::fma(-lr, gradient[i], before[i]));
  }
}

TEST(Kernels, UpdateRoundsOnce) {
  const float lr = 1 + 0x1p-12F;
  const std::vector<float> gradient{1 + 0x1p-12F};
  std::vector<float> values{1 + 0x1p-11F};  // lr * gradient = 1 + 2^-11 + 2^-24, a tie
  sgd_update(gradient, lr, values);
  EXPECT_EQ(values[0], -0x1p-24F);  // 0 if the product were rounded first
}

}  // namespace
}  // namespace meshparity
