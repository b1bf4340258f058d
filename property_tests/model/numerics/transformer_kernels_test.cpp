// The transformer's kernels against their definitions, bit for bit. (Attention has its own file.)
#include "model/numerics/transformer_kernels.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "model/numerics/functions.h"
#include "model/numerics/philox.h"
#include "oracle/canonical_reference.h"
#include "property_tests/model/numerics/kernel_sets.h"
#include "property_tests/random_values.h"
#include "property_tests/special_floats.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

rc::Gen<std::size_t> some_columns() {
  return rc::gen::oneOf(from_to(1, 9), from_to(1, 40), from_to(100, 130));
}

/// A layer norm's operands, and what it saves.
struct Norm {
  std::size_t rows = *from_to(0, 4);
  std::size_t columns = *some_columns();
  rc::Gen<float> kind = rc::gen::noShrink(*random::kind_of_floats());
  std::vector<float> input = floats(rows * columns, kind);
  std::vector<float> gain = floats(columns, kind);
  std::vector<float> bias = floats(columns, kind);
  std::vector<float> output_gradient = floats(rows * columns, kind);
  std::vector<float> mean = std::vector<float>(rows, kNan);
  std::vector<float> inverse_deviation = std::vector<float>(rows, kNan);

  RowMoments moments() { return {mean, inverse_deviation}; }
  float x(std::size_t r, std::size_t c) const { return input[r * columns + c]; }
  float n(std::size_t r, std::size_t c) const {
    const float d = x(r, c) - mean[r];
    return d * inverse_deviation[r];
  }
  float g(std::size_t r, std::size_t c) const { return output_gradient[r * columns + c] * gain[c]; }
  float per_column() const { return 1.0F / static_cast<float>(columns); }
};

RC_GTEST_PROP(LayerNorm, HasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  Norm norm;
  std::vector<float> output(norm.input.size(), kNan);
  layer_norm(norm.input, norm.gain, norm.bias, norm.moments(), output);
  std::vector<float> again(output.size(), kNan);
  layer_norm_again(norm.input, norm.gain, norm.bias, norm.moments(), again);
  for (std::size_t r = 0; r < norm.rows; ++r) {
    const auto x = [&](std::size_t c) { return norm.x(r, c); };
    const float mean =
        reference::canonical_row_sum(norm.columns, norm.columns, x) * norm.per_column();
    const auto d = [&](std::size_t c) { return norm.x(r, c) - mean; };
    const float variance =
        reference::canonical_row_dot(norm.columns, norm.columns, d, d) * norm.per_column();
    require_same(norm.mean[r], mean);
    require_same(norm.inverse_deviation[r], 1.0F / std::sqrt(variance + 1e-5F));
    for (std::size_t c = 0; c < norm.columns; ++c) {
      const float scaled = norm.n(r, c) * norm.gain[c];
      require_same(output[r * norm.columns + c], scaled + norm.bias[c]);
      require_same(again[r * norm.columns + c], output[r * norm.columns + c]);
    }
  }
}

RC_GTEST_PROP(LayerNorm, BackwardHasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  Norm norm;
  norm.mean = floats(norm.rows, norm.kind);
  norm.inverse_deviation = floats(norm.rows, norm.kind);
  std::vector<float> gradient = norm.output_gradient;
  layer_norm_backward(norm.input, norm.gain, norm.moments(), gradient, gradient);
  for (std::size_t r = 0; r < norm.rows; ++r) {
    const auto g = [&](std::size_t c) { return norm.g(r, c); };
    const auto n = [&](std::size_t c) { return norm.n(r, c); };
    const float a = reference::canonical_row_sum(norm.columns, norm.columns, g) * norm.per_column();
    const float b =
        reference::canonical_row_dot(norm.columns, norm.columns, g, n) * norm.per_column();
    for (std::size_t c = 0; c < norm.columns; ++c) {
      const float product = n(c) * b;
      const float difference = (g(c) - a) - product;
      require_same(gradient[r * norm.columns + c], difference * norm.inverse_deviation[r]);
    }
  }
}

RC_GTEST_PROP(LayerNorm, GainsGradientIsALeafOverRows, ()) {
  const AnyKernels isa;
  Norm norm;
  norm.mean = floats(norm.rows, norm.kind);
  norm.inverse_deviation = floats(norm.rows, norm.kind);
  std::vector<float> sums(norm.columns, 0.0F);
  add_layer_norm_gain(norm.input, norm.moments(), norm.output_gradient, sums);
  for (std::size_t c = 0; c < norm.columns; ++c) {
    require_same(sums[c],
                 reference::canonical_dot(
                     norm.rows, norm.rows + 1,
                     [&](std::size_t r) { return norm.output_gradient[r * norm.columns + c]; },
                     [&](std::size_t r) { return norm.n(r, c); }));
  }
}

TEST(LayerNorm, LanesThatEndEarlyKeepTheirMinusZero) {
  // 16 products g * n underflow to -0, and so must their sum: a +0 that is no term would show in
  // the gradient of the last column, where g is -0 and the sum of all g is +0.
  std::vector<float> input(17, 0x1p-100F);
  std::vector<float> output_gradient(17, -0x1p-100F);
  for (std::size_t c = 0; c < 8; ++c) {
    input[c] = -input[c];
    output_gradient[c] = -output_gradient[c];
  }
  output_gradient[16] = -0.0F;
  const std::vector<float> gain(17, 1.0F);
  std::vector<float> mean{0.0F};
  std::vector<float> inverse_deviation{1.0F};
  with_each_kernel_set([&](const char* name) {
    std::vector<float> gradient = output_gradient;
    layer_norm_backward(input, gain, {mean, inverse_deviation}, gradient, gradient);
    EXPECT_TRUE(same_float(gradient[16], 0.0F)) << name;  // -0 - (n * -0)
  });
}

RC_GTEST_PROP(TransformerKernels, GeluIsTheFunctionOfEachElement, ()) {
  const AnyKernels isa;
  const rc::Gen<float> kind = *rc::gen::element(
      random::any_float(), random::special_float(),
      rc::gen::map(random::moderate_float(), [](float unit) { return 10.0F * unit; }));
  const std::vector<float> values = floats(*from_to(0, 70), kind);
  const std::vector<float> before = floats(values.size(), kind);
  std::vector<float> output(values.size(), kNan);
  std::vector<float> gradient = before;
  std::vector<float> slopes = values;
  gelu(slopes, output);
  gelu_backward(slopes, gradient);
  for (std::size_t i = 0; i < values.size(); ++i) {
    require_same(output[i], portable_gelu(values[i]));
    require_same(slopes[i], portable_gelu_derivative(values[i]));
    require_same(gradient[i], before[i] * portable_gelu_derivative(values[i]));
  }
}

RC_GTEST_PROP(TransformerKernels, DropoutIsAFunctionOfCoordinates, ()) {
  const AnyKernels isa;
  const std::size_t rows = *from_to(0, 4);
  const std::size_t columns = *rc::gen::oneOf(from_to(1, 80), from_to(250, 600));
  const float probability = *rc::gen::element(0.0F, 0.1F, 0.5F, 0.99F);
  const Dropout dropout{.key = {static_cast<std::uint32_t>(*random::any_seed()), 3},
                        .step = *from_to(0, 0xFFFFFFFFU),
                        .place = static_cast<std::uint32_t>(*from_to(0, 100)),
                        .first_row = *from_to(0, 0xFFFFFFF0U),
                        .probability = probability,
                        .scale = 1.0F / (1.0F - probability)};
  const std::vector<float> before =
      floats(rows * columns, rc::gen::noShrink(*random::kind_of_floats()));
  std::vector<float> values = before;
  apply_dropout(dropout, rows, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t feature = i % columns;
    const auto words = philox4x32({static_cast<std::uint32_t>(feature / 4),
                                   static_cast<std::uint32_t>(dropout.first_row + i / columns),
                                   static_cast<std::uint32_t>(dropout.step), dropout.place},
                                  dropout.key);
    const bool kept = unit_float(words.at(feature % 4)) >= probability;
    const float scaled = probability > 0 ? before[i] * dropout.scale : before[i];
    require_same(values[i], kept ? scaled : 0.0F);
  }
}

TEST(TransformerKernels, DropoutKeepsWhatIsExactlyTheProbability) {
  Dropout dropout{.key = {1, 2}, .step = 3, .place = 4, .first_row = 5};
  dropout.probability = unit_float(philox4x32({0, 5, 3, 4}, dropout.key)[2]);
  dropout.scale = 2.0F;
  with_each_kernel_set([&](const char* name) {
    std::vector<float> values(4, 1.0F);
    apply_dropout(dropout, 1, values);
    EXPECT_EQ(values[2], 2.0F) << name;
  });
}

TEST(TransformerKernels, DropoutRefusesCoordinatesThatDoNotFit) {
  std::vector<float> values(8);
  Dropout dropout{.probability = 0.5F, .scale = 2};
  dropout.first_row = 0xFFFFFFFEU;
  EXPECT_NO_THROW(apply_dropout(dropout, 2, values));
  dropout.first_row = 0xFFFFFFFFU;
  EXPECT_THROW(apply_dropout(dropout, 2, values), std::logic_error);
  dropout.first_row = ~std::uint64_t{0};
  EXPECT_THROW(apply_dropout(dropout, 2, values), std::logic_error);
  dropout.first_row = 0;
  dropout.step = std::uint64_t{1} << 32;
  EXPECT_THROW(apply_dropout(dropout, 2, values), std::logic_error);
}

RC_GTEST_PROP(TransformerKernels, AdamWHasTheBitsOfTheDefinition, ()) {
  const AnyKernels isa;
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::size_t size = *from_to(0, 70);
  const std::vector<float> gradient = floats(size, kind);
  const std::vector<float> m = floats(size, kind);
  const std::vector<float> v = floats(size, kind);
  const std::vector<float> w = floats(size, kind);
  AdamWStep step{.clip = *random::moderate_float(),
                 .beta1 = 0.9F,
                 .one_minus_beta1 = 0.1F,
                 .beta2 = 0.95F,
                 .one_minus_beta2 = 0.05F,
                 .step_size = *random::moderate_float(),
                 .inverse_root = *random::moderate_float(),
                 .epsilon = 1e-8F,
                 .decay = 0.125F,
                 .decays = *rc::gen::arbitrary<bool>()};
  std::vector<float> first = m;
  std::vector<float> second = v;
  std::vector<float> values = w;
  adamw_update(step, gradient, first, second, values);
  for (std::size_t i = 0; i < size; ++i) {
    const float g = step.clip * gradient[i];
    const float scaled = step.one_minus_beta1 * g;
    const float half_square = step.one_minus_beta2 * g;
    const float square = half_square * g;
    require_same(first[i], std::fma(step.beta1, m[i], scaled));
    require_same(second[i], std::fma(step.beta2, v[i], square));
    const float decayed = step.decays ? std::fma(-step.decay, w[i], w[i]) : w[i];
    const float root = std::sqrt(second[i]) * step.inverse_root;
    const float direction = first[i] / (root + step.epsilon);
    require_same(values[i], std::fma(-step.step_size, direction, decayed));
  }
}

RC_GTEST_PROP(TransformerKernels, LargestPowersAndLeavesOfRows, ()) {
  const AnyKernels isa;
  const std::size_t rows = *from_to(0, 4);
  const std::size_t columns = *from_to(0, 70);
  const std::vector<float> matrix = floats(rows * columns, *random::kind_of_floats());
  std::vector<float> largest(rows, kNan);
  largest_of_rows(matrix, rows, largest);
  std::vector<float> powers(matrix.size(), kNan);
  powers_of_rows(matrix, largest, powers);
  const Range run = random::random_run(columns);
  std::vector<float> leaves(rows, kNan);
  row_leaves(matrix, rows, run, leaves);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto row = std::span(matrix).subspan(r * columns, columns);
    float expected = -kInfinity;
    for (const float value : row) {
      if (std::isnan(value) || value > expected) expected = value;
      if (std::isnan(expected)) break;
    }
    require_same(largest[r], expected + 0.0F);  // a zero is +0
    for (std::size_t c = 0; c < columns; ++c) {
      require_same(powers[r * columns + c], portable_exp(row[c] - largest[r]));
    }
    require_same(leaves[r],
                 reference::canonical_row_sum(run.size(), run.size() + 1,
                                              [&](std::size_t i) { return row[run.begin + i]; }));
  }
}

TEST(TransformerKernels, RefuseSizesThatDoNotFit) {
  std::vector<float> six(6);
  std::vector<float> three(3);
  std::vector<float> two(2);
  const RowMoments moments{two, two};
  EXPECT_NO_THROW(layer_norm(six, three, three, moments, six));
  EXPECT_THROW(layer_norm(six, three, two, moments, six), std::logic_error);
  EXPECT_THROW(layer_norm(six, two, two, moments, six), std::logic_error);
  EXPECT_THROW(layer_norm(six, {}, {}, moments, six), std::logic_error);
  EXPECT_THROW(layer_norm_again(six, three, three, moments, three), std::logic_error);
  EXPECT_THROW(layer_norm_backward(six, three, moments, three, six), std::logic_error);
  EXPECT_THROW(add_layer_norm_gain(six, moments, three, three), std::logic_error);
  EXPECT_THROW(gelu(six, three), std::logic_error);
  EXPECT_THROW(gelu_backward(six, three), std::logic_error);
  EXPECT_THROW(adamw_update({}, six, six, six, three), std::logic_error);
  EXPECT_THROW(adamw_update({}, six, three, six, six), std::logic_error);
  EXPECT_THROW(largest_of_rows(six, 4, three), std::logic_error);
  EXPECT_THROW(powers_of_rows(six, two, three), std::logic_error);
  EXPECT_THROW(row_leaves(six, 2, {2, 4}, two), std::logic_error);
}

}  // namespace
}  // namespace meshparity
