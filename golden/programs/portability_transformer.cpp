#include <cmath>

#include "golden/programs/portability_cases.h"
#include "model/numerics/functions.h"
#include "model/numerics/transformer_kernels.h"
#include "oracle/attention_reference.h"
#include "oracle/canonical_reference.h"

namespace meshparity {
namespace {

/// Layer norm, forward and backward.
PortabilityCheck check_layer_norm() {
  Judge judge("layer_norm");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t columns = draw.from_to(1, 70);
    const std::vector<float> x = draw.floats(columns);
    const std::vector<float> gain = draw.floats(columns);
    const std::vector<float> bias = draw.floats(columns);
    const std::vector<float> dy = draw.floats(columns);
    std::vector<float> mean(1);
    std::vector<float> root(1);
    std::vector<float> output(columns);
    std::vector<float> gradient(columns);
    layer_norm(x, gain, bias, {mean, root}, output);
    layer_norm_backward(x, gain, {mean, root}, dy, gradient);
    const float c = 1.0F / static_cast<float>(columns);
    const float expected_mean = reference::canonical_row_sum(x, columns) * c;
    const auto d = [&](std::size_t i) { return x[i] - expected_mean; };
    const float variance = reference::canonical_row_dot(columns, columns, d, d) * c;
    const float expected_root = 1.0F / std::sqrt(variance + kLayerNormEpsilon);
    const auto n = [&](std::size_t i) { return d(i) * expected_root; };
    const auto g = [&](std::size_t i) { return dy[i] * gain[i]; };
    const float a = reference::canonical_row_sum(columns, columns, g) * c;
    const float b = reference::canonical_row_dot(columns, columns, g, n) * c;
    std::vector<float> expected;
    std::vector<float> expected_gradient;
    for (std::size_t i = 0; i < columns; ++i) {
      const float scaled = n(i) * gain[i];
      expected.push_back(scaled + bias[i]);
      const float product = n(i) * b;
      const float difference = (g(i) - a) - product;
      expected_gradient.push_back(difference * expected_root);
    }
    judge.compare(number, output, expected);
    judge.compare(number, gradient, expected_gradient);
  }
  return judge.verdict();
}

/// GELU and its backward pass.
PortabilityCheck check_gelu() {
  Judge judge("gelu");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    std::vector<float> values = draw.floats(draw.from_to(1, 100));
    for (float& value : values) value = 8.0F * value;
    std::vector<float> gradient = draw.floats(values.size());
    std::vector<float> output(values.size());
    std::vector<float> expected;
    std::vector<float> expected_gradient;
    for (std::size_t i = 0; i < values.size(); ++i) {
      expected.push_back(portable_gelu(values[i]));
      expected_gradient.push_back(gradient[i] * portable_gelu_derivative(values[i]));
    }
    gelu(values, output);
    gelu_backward(values, gradient);
    judge.compare(number, output, expected);
    judge.compare(number, gradient, expected_gradient);
  }
  return judge.verdict();
}

PortabilityCheck check_adamw() {
  Judge judge("adamw_update");
  constexpr AdamWStep kStep{.clip = 0.5F,
                            .beta1 = 0.9F,
                            .one_minus_beta1 = 0.1F,
                            .beta2 = 0.95F,
                            .one_minus_beta2 = 0.05F,
                            .step_size = 0.01F,
                            .inverse_root = 1.5F,
                            .epsilon = 1e-8F,
                            .decay = 0.001F,
                            .decays = true};
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::vector<float> gradient = draw.floats(draw.from_to(1, 70));
    std::vector<float> first = draw.floats(gradient.size());
    std::vector<float> second = draw.floats(gradient.size());
    std::vector<float> values = draw.floats(gradient.size());
    std::vector<float> expected;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const float g = kStep.clip * gradient[i];
      const float scaled = kStep.one_minus_beta1 * g;
      const float m = std::fma(kStep.beta1, first[i], scaled);
      const float half_square = kStep.one_minus_beta2 * g;
      const float square = half_square * g;
      const float v = std::fma(kStep.beta2, second[i], square);
      const float root = std::sqrt(v) * kStep.inverse_root;
      const float direction = m / (root + kStep.epsilon);
      const float w = std::fma(-kStep.decay, values[i], values[i]);
      expected.push_back(std::fma(-kStep.step_size, direction, w));
    }
    adamw_update(kStep, gradient, first, second, values);
    judge.compare(number, values, expected);
  }
  return judge.verdict();
}

/// Kept or dropped, as the definition has it.
float dropout_factor(const Dropout& dropout, std::uint64_t row, std::uint64_t feature) {
  const auto words = philox4x32(
      {static_cast<std::uint32_t>(feature / 4), static_cast<std::uint32_t>(dropout.first_row + row),
       static_cast<std::uint32_t>(dropout.step), dropout.place},
      dropout.key);
  return unit_float(words.at(feature % 4)) >= dropout.probability ? dropout.scale : 0.0F;
}

/// Attention with its backward pass, and dropout in every other case.
PortabilityCheck check_attention() {
  Judge judge("attention");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    AttentionShape shape{.samples = draw.from_to(1, 2),
                         .positions = draw.from_to(1, 17),
                         .heads = draw.from_to(1, 2),
                         .head_size = draw.from_to(1, 19),
                         .part = 0,
                         .parts = std::size_t{1} << draw.from_to(0, 2),
                         .first_head = 1,
                         .sequence = 0,
                         .scale = 0.25F};
    shape.sequence = shape.positions;
    shape.part = (shape.sequence + shape.parts - 1) / shape.parts;
    const Dropout dropout{.key = {20260101, 5},
                          .step = number,
                          .place = 9,
                          .first_row = 7,
                          .probability = number % 2 == 0 ? 0.0F : 0.25F,
                          .scale = static_cast<float>(1 / 0.75)};
    reference::AttentionCase given{.samples = shape.samples,
                                   .positions = shape.positions,
                                   .heads = shape.heads,
                                   .head_size = shape.head_size,
                                   .part = shape.part,
                                   .parts = shape.parts,
                                   .scale = shape.scale,
                                   .exp = portable_exp,
                                   .dropout = {}};
    if (dropout.active()) {
      given.dropout = [&](std::size_t row, std::size_t head, std::size_t key) {
        return dropout_factor(dropout, row, (shape.first_head + head) * shape.sequence + key);
      };
    }
    const std::size_t row_heads = shape.rows() * shape.heads;
    const std::vector<float> qkv = draw.floats(3 * row_heads * shape.head_size);
    const std::vector<float> output_gradient = draw.floats(row_heads * shape.head_size);
    std::vector<float> output(output_gradient.size());
    std::vector<float> largest(row_heads);
    std::vector<float> sums(row_heads);
    std::vector<float> gradient(qkv.size());
    std::vector<float> scratch(attention_scratch(shape));
    attention(shape, dropout, qkv, output, largest, sums, scratch);
    attention_backward(shape, dropout, qkv, output, largest, sums, output_gradient, gradient,
                       scratch);
    const reference::AttentionResult expected = reference::attention(given, qkv);
    judge.compare(number, output, expected.output);
    judge.compare(number, sums, expected.sums);
    judge.compare(number, gradient,
                  reference::attention_backward(given, qkv, expected, output_gradient));
  }
  return judge.verdict();
}

PortabilityCheck check_dropout() {
  Judge judge("apply_dropout");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(1, 4);
    const std::size_t columns = draw.from_to(1, 90);
    const Dropout dropout{.key = {20260101, 6},
                          .step = number,
                          .place = 3,
                          .first_row = 11,
                          .probability = 0.25F,
                          .scale = static_cast<float>(1 / 0.75)};
    std::vector<float> values = draw.floats(rows * columns);
    std::vector<float> expected;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float factor = dropout_factor(dropout, i / columns, i % columns);
      expected.push_back(factor == 0.0F ? 0.0F : values[i] * factor);
    }
    apply_dropout(dropout, rows, values);
    judge.compare(number, values, expected);
  }
  return judge.verdict();
}

}  // namespace

std::vector<PortabilityCheck> check_portable_transformer_kernels() {
  return {check_layer_norm(), check_gelu(), check_dropout(), check_attention(), check_adamw()};
}

}  // namespace meshparity
