#include "model/numerics/kernels.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "model/numerics/functions.h"
#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/model/numerics/kernel_sets.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

float at(const MatrixView& m, std::size_t row, std::size_t column) {
  return m.data[row * m.row_stride + column * m.column_stride];
}

/// A rows x columns window into a larger matrix of random values.
struct Window {
  std::vector<float> memory;
  std::size_t memory_rows;
  std::size_t memory_columns;
  Range rows;
  Range columns;

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
    return MatrixView(memory, memory_rows, memory_columns).row_range(rows).column_range(columns);
  }
};

/// A random matrix, as it stands in memory or transposed.
struct Operand {
  bool transposed = *rc::gen::arbitrary<bool>();
  Window window;

  Operand(std::size_t rows, std::size_t columns, const rc::Gen<float>& kind)
      : window(transposed ? Window(columns, rows, kind) : Window(rows, columns, kind)) {}

  MatrixView view() const { return transposed ? window.view().transposed() : window.view(); }
};

float product_element(const MatrixView& left, const MatrixView& right, std::size_t grain,
                      std::size_t r, std::size_t c) {
  return reference::canonical_dot(
      left.columns, grain, [&](std::size_t k) { return at(left, r, k); },
      [&](std::size_t k) { return at(right, k, c); });
}

RC_GTEST_PROP(Kernels, ProductHasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  const std::size_t rows = *rc::gen::oneOf(from_to(0, 3), from_to(0, 20));
  const std::size_t columns = *rc::gen::oneOf(from_to(0, 9), from_to(8, 40), from_to(60, 70));
  const std::size_t terms = *rc::gen::oneOf(from_to(0, 5), from_to(0, 40), from_to(90, 130));
  const std::size_t grain = *rc::gen::oneOf(rc::gen::just<std::size_t>(1), from_to(1, 20),
                                            from_to(terms + 1, terms + 10));
  const rc::Gen<float> kind = *random::kind_of_floats();
  const Operand left_operand(rows, terms, kind);
  const Operand right_operand(terms, columns, kind);
  const MatrixView left = left_operand.view();
  const MatrixView right = right_operand.view();
  Epilogue epilogue;
  const std::vector<float> bias = floats(columns, kind);
  if (*rc::gen::arbitrary<bool>()) epilogue.bias = bias;
  epilogue.relu = *rc::gen::arbitrary<bool>();
  RC_CLASSIFY(rows == 0, "no rows");
  RC_CLASSIFY(columns == 1, "one column");
  RC_CLASSIFY(columns > 32, "more than one panel of columns");
  RC_CLASSIFY(terms == 0, "no terms");
  RC_CLASSIFY(grain == 1, "grain 1");
  RC_CLASSIFY(grain >= terms, "one leaf");

  constexpr float kGuard = 12345.0F;
  std::vector<float> output(rows * columns + 1, kGuard);
  canonical_product(left, right, grain, std::span(output).first(rows * columns), epilogue);
  RC_ASSERT(output.back() == kGuard);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      float expected = product_element(left, right, grain, r, c);
      if (!epilogue.bias.empty()) expected = expected + bias[c];
      if (epilogue.relu && expected <= 0.0F) expected = 0.0F;
      require_same(output[r * columns + c], expected);
    }
  }
}

RC_GTEST_PROP(Kernels, LargeProductsHaveTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  // Large enough for operands to be packed, now and then in blocks of rows, and for tails of every
  // kind.
  const std::size_t rows =
      *rc::gen::weightedOneOf<std::size_t>({{9, from_to(60, 150)}, {1, from_to(480, 900)}});
  const std::size_t columns = *from_to(60, 150);
  const std::size_t terms = *from_to(200, 600);
  const std::size_t grain = *rc::gen::oneOf(from_to(1, 100), from_to(terms, terms + 1));
  // Shapes shrink; to shrink tens of thousands of values would take longer than anybody waits.
  const rc::Gen<float> kind = rc::gen::noShrink(*random::kind_of_floats());
  const Operand left_operand(rows, terms, kind);
  const Operand right_operand(terms, columns, kind);
  const MatrixView left = left_operand.view();
  const MatrixView right = right_operand.view();
  std::vector<float> output(rows * columns);
  canonical_product(left, right, grain, output);
  const auto check = [&](std::size_t r, std::size_t c) {
    require_same(output[r * columns + c], product_element(left, right, grain, r, c));
  };
  for (std::size_t r = 0; r < rows; ++r) check(r, r * 7 % columns);
  for (std::size_t c = 0; c < columns; ++c) {
    check(0, c);
    check(rows - 1, c);
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
  EXPECT_THROW(canonical_product(two_three, three_two, 1, output, {std::span(six).first(3)}),
               std::logic_error);
  EXPECT_THROW(MatrixView(six, 2, 2), std::logic_error);
}

RC_GTEST_PROP(Kernels, ViewsShowTheRightElements, ()) {
  const std::size_t rows = *from_to(1, 5);
  const std::size_t columns = *from_to(1, 5);
  const std::vector<float> values = floats(rows * columns, random::moderate_float());
  const MatrixView whole(values, rows, columns);
  const Range some_rows = random::random_run(rows);
  const Range some_columns = random::random_run(columns);
  const MatrixView part = whole.row_range(some_rows).column_range(some_columns);
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
}

RC_GTEST_PROP(Kernels, RowSumHasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  const std::size_t size = *rc::gen::oneOf(from_to(0, 20), from_to(0, 200));
  const std::size_t grain =
      *rc::gen::oneOf(rc::gen::just<std::size_t>(1), from_to(1, 40), from_to(1, 220));
  const std::vector<float> values = floats(size, *random::kind_of_floats());
  RC_CLASSIFY(grain % 16 != 0, "lanes of different lengths");
  require_same(canonical_row_sum(values, grain), reference::canonical_row_sum(values, grain));
}

RC_GTEST_PROP(Kernels, AddedRowsAreALeaf, ()) {
  const AnyKernels isa;
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

RC_GTEST_PROP(Kernels, SumsOfTwoAreElementByElement, ()) {
  const AnyKernels isa;
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> a = floats(*from_to(0, 70), kind);
  const std::vector<float> b = floats(a.size(), kind);
  std::vector<float> output(a.size());
  add(a, b, output);
  for (std::size_t i = 0; i < a.size(); ++i) require_same(output[i], a[i] + b[i]);
}

RC_GTEST_PROP(Kernels, EpilogueIsBiasThenRelu, ()) {
  const AnyKernels isa;
  const std::size_t rows = *from_to(0, 5);
  const std::size_t columns = *from_to(0, 40);
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> before = floats(rows * columns, kind);
  const std::vector<float> bias = floats(columns, kind);
  Epilogue epilogue;
  if (*rc::gen::arbitrary<bool>()) epilogue.bias = bias;
  epilogue.relu = *rc::gen::arbitrary<bool>();
  std::vector<float> matrix = before;
  apply_epilogue(epilogue, rows, matrix);
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    float expected = before[i];
    if (!epilogue.bias.empty()) expected = expected + bias[i % columns];
    if (epilogue.relu && expected <= 0.0F) expected = 0.0F;
    require_same(matrix[i], expected);
  }
}

RC_GTEST_PROP(Kernels, ReluLetsGradientsPassWhereItGaveSomething, ()) {
  const AnyKernels isa;
  const std::size_t size = *from_to(0, 40);
  const std::vector<float> input = floats(size, random::special_float());
  const std::vector<float> gradient = floats(size, random::special_float());
  std::vector<float> output = input;
  apply_epilogue({.bias = {}, .relu = true}, 1, output);
  std::vector<float> input_gradient = gradient;
  relu_backward(output, input_gradient);
  for (std::size_t i = 0; i < size; ++i) {
    const bool above = input[i] > 0.0F;
    require_same(output[i], std::isnan(input[i]) ? kNan : (above ? input[i] : 0.0F));
    require_same(input_gradient[i], above ? gradient[i] : 0.0F);
  }
}

RC_GTEST_PROP(Kernels, RowsAreGatheredAndAddedWhereTheyBelong, ()) {
  const AnyKernels isa;
  const std::size_t table_rows = *from_to(1, 5);
  const std::size_t columns = *from_to(1, 40);
  const auto indices = *rc::gen::container<std::vector<std::int32_t>>(
      rc::gen::inRange<std::int32_t>(0, static_cast<std::int32_t>(table_rows)));
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> table = floats(table_rows * columns, kind);
  std::vector<float> rows(indices.size() * columns);
  gather_rows(table, columns, indices, rows);
  std::vector<float> sums = table;
  scatter_add_rows(rows, columns, indices, sums);
  std::vector<float> expected = table;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::size_t first = static_cast<std::size_t>(indices[i]) * columns;
    for (std::size_t c = 0; c < columns; ++c) {
      require_same(rows[i * columns + c], table[first + c]);
      expected[first + c] = expected[first + c] + rows[i * columns + c];
    }
  }
  for (std::size_t i = 0; i < sums.size(); ++i) require_same(sums[i], expected[i]);
}

RC_GTEST_PROP(Kernels, SoftmaxHasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  const std::size_t rows = *from_to(0, 5);
  const std::size_t columns = *from_to(1, 70);
  const std::size_t grain = *from_to(1, 80);
  const std::vector<float> logits =
      floats(rows * columns, *rc::gen::element(random::moderate_float(), random::finite_float()));
  std::vector<float> probabilities(logits.size());
  std::vector<float> largest(rows);
  std::vector<float> log_sum(rows);
  softmax_rows(logits, rows, grain, probabilities, largest, log_sum);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto z = std::span(logits).subspan(r * columns, columns);
    RC_ASSERT(largest[r] == *std::ranges::max_element(z));
    std::vector<float> powers;
    for (const float value : z) powers.push_back(portable_exp(value - largest[r]));
    const float sum = reference::canonical_row_sum(powers, grain);
    require_same(log_sum[r], portable_log(sum));
    for (std::size_t c = 0; c < columns; ++c) {
      require_same(probabilities[r * columns + c], powers[c] / sum);
    }
  }
}

RC_GTEST_PROP(Kernels, ScaledIsEachTimesTheFactor, ()) {
  const AnyKernels isa;
  const std::vector<float> values = floats(*from_to(0, 40), *random::kind_of_floats());
  const float factor = *random::special_float();
  std::vector<float> output(values.size());
  scale(values, factor, output);
  for (std::size_t i = 0; i < values.size(); ++i) require_same(output[i], values[i] * factor);
}

/// The finaliser of MurmurHash3.
std::uint64_t murmur_finaliser(std::uint64_t x) {
  for (const std::uint64_t factor : {0xFF51AFD7ED558CCDULL, 0xC4CEB9FE1A85EC53ULL}) {
    x = (x ^ (x >> 33)) * factor;
  }
  return x ^ (x >> 33);
}

RC_GTEST_PROP(Kernels, DigestAddsAHashOfEachPlaceAndValue, ()) {
  const AnyKernels isa;
  const std::vector<float> values = floats(*from_to(0, 70), random::special_float());
  const auto first = *rc::gen::arbitrary<std::uint64_t>();
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    expected +=
        murmur_finaliser(murmur_finaliser(first + i) ^ std::bit_cast<std::uint32_t>(values[i]));
  }
  RC_ASSERT(digest(values, first) == expected);
}

TEST(Kernels, ReluAtTheEdges) {
  std::vector<float> values{-0.0F, 0.0F, kNan, -kInfinity, kInfinity, -0x1p-149F, 0x1p-149F};
  apply_epilogue({.bias = {}, .relu = true}, 1, values);
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
  const AnyKernels isa;
  const std::size_t size = *from_to(0, 70);
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::vector<float> before = floats(size, kind);
  const std::vector<float> gradient = floats(size, kind);
  const float lr = *random::finite_float();
  std::vector<float> values = before;
  sgd_update(gradient, 1.0F, lr, values);
  for (std::size_t i = 0; i < size; ++i) {
    require_same(values[i], std::fma(-lr, gradient[i], before[i]));
  }
}

TEST(Kernels, UpdateRoundsOnce) {
  const float lr = 1 + 0x1p-12F;
  const std::vector<float> gradient{1 + 0x1p-12F};
  std::vector<float> values{1 + 0x1p-11F};  // lr * gradient = 1 + 2^-11 + 2^-24, a tie
  sgd_update(gradient, 1.0F, lr, values);
  EXPECT_EQ(values[0], -0x1p-24F);  // 0 if the product were rounded first
}

}  // namespace
}  // namespace meshparity
