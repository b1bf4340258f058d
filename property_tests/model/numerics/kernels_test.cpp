#include "model/numerics/kernels.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
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
