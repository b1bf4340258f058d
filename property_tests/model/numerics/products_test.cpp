#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/numerics/kernels.h"
#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/model/numerics/kernel_sets.h"
#include "property_tests/random_values.h"

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

/// left * right of these sizes by each set of kernels, with operands in both orders of memory.
void expect_product_in_all_orders(std::size_t rows, std::size_t terms, std::size_t columns) {
  const auto number = [](std::size_t i) { return 1.0F / static_cast<float>(1 + i % 101) - 0.1F; };
  std::vector<float> left(rows * terms);
  std::vector<float> right(terms * columns);
  std::vector<float> left_turned(left.size());
  std::vector<float> right_turned(right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    left_turned[i % terms * rows + i / terms] = left[i] = number(37 * i);
  }
  for (std::size_t i = 0; i < right.size(); ++i) {
    right_turned[i % columns * terms + i / columns] = right[i] = number(53 * i);
  }
  constexpr std::size_t kGrain = 24;
  std::vector<float> expected;
  for (std::size_t i = 0; i < rows * columns; ++i) {
    expected.push_back(product_element({left, rows, terms}, {right, terms, columns}, kGrain,
                                       i / columns, i % columns));
  }
  std::vector<float> output(expected.size());
  with_each_kernel_set([&](const char* name) {
    for (const MatrixView& a :
         {MatrixView(left, rows, terms), MatrixView(left_turned, terms, rows).transposed()}) {
      for (const MatrixView& b : {MatrixView(right, terms, columns),
                                  MatrixView(right_turned, columns, terms).transposed()}) {
        canonical_product(a, b, kGrain, output);
        EXPECT_TRUE(std::ranges::equal(output, expected, same_float))
            << name << ", rows of the left matrix " << a.row_stride << " apart, of the right one "
            << b.row_stride;
      }
    }
  });
}

TEST(Kernels, OperandsPackedInEveryWayHaveTheBitsOfTheDefinition) {
  expect_product_in_all_orders(65, 600, 68);  // both, or one of them, of uneven tiles
  expect_product_in_all_orders(65, 64, 516);  // the left matrix is too small for it
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

}  // namespace
}  // namespace meshparity
