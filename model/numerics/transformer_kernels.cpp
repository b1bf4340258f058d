#include "model/numerics/transformer_kernels.h"

#include <bit>
#include <stdexcept>
#include <string>

#include "model/numerics/isa.h"
#include "model/numerics/size_check.h"

namespace meshparity {
namespace {

LayerNormTask layer_norm_task(std::span<const float> input, std::span<const float> gain,
                              const SavedMoments& moments, const char* kernel) {
  const std::size_t columns = gain.size();
  require_sizes(columns > 0 && input.size() % columns == 0, kernel);
  const std::size_t rows = input.size() / columns;
  require_sizes(moments.mean.size() == rows && moments.inverse_deviation.size() == rows, kernel);
  return {.input = input.data(),
          .gain = gain.data(),
          .bias = nullptr,
          .rows = rows,
          .columns = columns,
          .epsilon = kLayerNormEpsilon,
          .mean = moments.mean.data(),
          .inverse_deviation = moments.inverse_deviation.data()};
}

/// Throws if a coordinate does not fit: rows [first_row, first_row + rows), features below
/// `features`.
DropoutTask dropout_task(const Dropout& dropout, std::uint64_t rows, std::uint64_t features) {
  constexpr std::uint64_t kLimit = std::uint64_t{1} << 32;
  if (dropout.active() && (dropout.step >= kLimit || features > kLimit || rows > kLimit ||
                           dropout.first_row > kLimit - rows)) {
    throw std::logic_error("dropout: a coordinate is 2^32 or more (step " +
                           std::to_string(dropout.step) + ", rows up to " +
                           std::to_string(dropout.first_row + rows) + ", " +
                           std::to_string(features) + " features)");
  }
  return {.key = {dropout.key[0], dropout.key[1]},
          .step = static_cast<std::uint32_t>(dropout.step),
          .place = dropout.place,
          .first_row = dropout.first_row,
          .probability = dropout.probability,
          .scale = dropout.scale};
}

AttentionTask attention_task(const AttentionShape& shape, const Dropout& dropout) {
  require_sizes(shape.head_size > 0 && shape.part > 0 && std::has_single_bit(shape.parts) &&
                    (!dropout.active() || shape.positions == shape.sequence),
                "attention");
  const std::uint64_t features = (shape.first_head + shape.heads) * shape.sequence;
  return {.samples = shape.samples,
          .positions = shape.positions,
          .heads = shape.heads,
          .head_size = shape.head_size,
          .part = shape.part,
          .parts = shape.parts,
          .first_head = shape.first_head,
          .sequence = shape.sequence,
          .scale = shape.scale,
          .dropout = dropout_task(dropout, shape.rows(), features),
          .qkv = nullptr,
          .output = nullptr,
          .largest = nullptr,
          .sums = nullptr,
          .saved_output = nullptr,
          .saved_largest = nullptr,
          .saved_sums = nullptr,
          .output_gradient = nullptr,
          .qkv_gradient = nullptr,
          .scratch = nullptr};
}

}  // namespace

void layer_norm(std::span<const float> input, std::span<const float> gain,
                std::span<const float> bias, RowMoments moments, std::span<float> output) {
  LayerNormTask task = layer_norm_task(input, gain, moments, "layer_norm");
  require_sizes(bias.size() == gain.size() && output.size() == input.size(), "layer_norm");
  task.bias = bias.data();
  kernel_table().layer_norm(task, moments.mean.data(), moments.inverse_deviation.data(),
                            output.data());
}

void layer_norm_again(std::span<const float> input, std::span<const float> gain,
                      std::span<const float> bias, const SavedMoments& moments,
                      std::span<float> output) {
  LayerNormTask task = layer_norm_task(input, gain, moments, "layer_norm_again");
  require_sizes(bias.size() == gain.size() && output.size() == input.size(), "layer_norm_again");
  task.bias = bias.data();
  kernel_table().layer_norm_again(task, output.data());
}

void layer_norm_backward(std::span<const float> input, std::span<const float> gain,
                         const SavedMoments& moments, std::span<const float> output_gradient,
                         std::span<float> input_gradient) {
  const LayerNormTask task = layer_norm_task(input, gain, moments, "layer_norm_backward");
  require_sizes(output_gradient.size() == input.size() && input_gradient.size() == input.size(),
                "layer_norm_backward");
  kernel_table().layer_norm_backward(task, output_gradient.data(), input_gradient.data());
}

void add_layer_norm_gain(std::span<const float> input, const SavedMoments& moments,
                         std::span<const float> output_gradient, std::span<float> gain_gradient) {
  const LayerNormTask task = layer_norm_task(input, gain_gradient, moments, "add_layer_norm_gain");
  require_sizes(output_gradient.size() == input.size(), "add_layer_norm_gain");
  kernel_table().add_layer_norm_gain(task, output_gradient.data(), gain_gradient.data());
}

void gelu(std::span<float> values_then_slopes, std::span<float> output) {
  require_sizes(values_then_slopes.size() == output.size(), "gelu");
  kernel_table().gelu(output.size(), values_then_slopes.data(), output.data());
}

void gelu_backward(std::span<const float> slopes, std::span<float> gradient) {
  require_sizes(slopes.size() == gradient.size(), "gelu_backward");
  kernel_table().gelu_backward(slopes.size(), slopes.data(), gradient.data());
}

void apply_dropout(const Dropout& dropout, std::size_t rows, std::span<float> values) {
  if (!dropout.active() || rows == 0) return;
  require_sizes(values.size() % rows == 0, "apply_dropout");
  const std::size_t columns = values.size() / rows;
  kernel_table().apply_dropout(dropout_task(dropout, rows, columns), rows, columns, values.data());
}

std::size_t attention_scratch(const AttentionShape& shape) {
  return kernel_table().attention_scratch(attention_task(shape, {}));
}

void attention(const AttentionShape& shape, const Dropout& dropout, std::span<const float> qkv,
               std::span<float> output, std::span<float> largest, std::span<float> sums,
               std::span<float> scratch) {
  AttentionTask task = attention_task(shape, dropout);
  const std::size_t row_heads = shape.rows() * shape.heads;
  const std::size_t size = row_heads * shape.head_size;
  require_sizes(qkv.size() == 3 * size && output.size() == size && largest.size() == row_heads &&
                    sums.size() == row_heads &&
                    scratch.size() >= kernel_table().attention_scratch(task),
                "attention");
  task.qkv = qkv.data();
  task.output = output.data();
  task.largest = largest.data();
  task.sums = sums.data();
  task.scratch = scratch.data();
  kernel_table().attention(task);
}

void attention_backward(const AttentionShape& shape, const Dropout& dropout,
                        std::span<const float> qkv, std::span<const float> output,
                        std::span<const float> largest, std::span<const float> sums,
                        std::span<const float> output_gradient, std::span<float> qkv_gradient,
                        std::span<float> scratch) {
  AttentionTask task = attention_task(shape, dropout);
  const std::size_t row_heads = shape.rows() * shape.heads;
  const std::size_t size = row_heads * shape.head_size;
  require_sizes(qkv.size() == 3 * size && output.size() == size && largest.size() == row_heads &&
                    sums.size() == row_heads && output_gradient.size() == size &&
                    qkv_gradient.size() == 3 * size &&
                    scratch.size() >= kernel_table().attention_scratch(task),
                "attention_backward");
  task.qkv = qkv.data();
  task.saved_output = output.data();
  task.saved_largest = largest.data();
  task.saved_sums = sums.data();
  task.output_gradient = output_gradient.data();
  task.qkv_gradient = qkv_gradient.data();
  task.scratch = scratch.data();
  kernel_table().attention_backward(task);
}

void adamw_update(const AdamWStep& step, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<float> values) {
  const std::size_t size = values.size();
  require_sizes(
      gradient.size() == size && first_moment.size() == size && second_moment.size() == size,
      "adamw_update");
  kernel_table().adamw_update({.size = size,
                               .clip = step.clip,
                               .beta1 = step.beta1,
                               .one_minus_beta1 = step.one_minus_beta1,
                               .beta2 = step.beta2,
                               .one_minus_beta2 = step.one_minus_beta2,
                               .step_size = step.step_size,
                               .inverse_root = step.inverse_root,
                               .epsilon = step.epsilon,
                               .decay = step.decay,
                               .decays = step.decays,
                               .gradient = gradient.data(),
                               .first_moment = first_moment.data(),
                               .second_moment = second_moment.data(),
                               .values = values.data()});
}

void largest_of_rows(std::span<const float> matrix, std::size_t rows, std::span<float> largest) {
  if (rows == 0) return;
  require_sizes(largest.size() == rows && matrix.size() % rows == 0, "largest_of_rows");
  const std::size_t columns = matrix.size() / rows;
  for (std::size_t r = 0; r < rows; ++r) {
    largest[r] = kernel_table().largest(columns, matrix.data() + r * columns);
  }
}

void powers_of_rows(std::span<const float> matrix, std::span<const float> largest,
                    std::span<float> powers) {
  const std::size_t rows = largest.size();
  if (rows == 0) return;
  require_sizes(powers.size() == matrix.size() && matrix.size() % rows == 0, "powers_of_rows");
  kernel_table().powers_of_rows(rows, matrix.size() / rows, matrix.data(), largest.data(),
                                powers.data());
}

void row_leaves(std::span<const float> matrix, std::size_t rows, Range columns,
                std::span<float> sums) {
  if (rows == 0) return;
  const std::size_t width = matrix.size() / rows;
  require_sizes(matrix.size() % rows == 0 && sums.size() == rows && columns.begin <= columns.end &&
                    columns.end <= width,
                "row_leaves");
  for (std::size_t r = 0; r < rows; ++r) {
    const std::span<const float> row = matrix.subspan(r * width + columns.begin, columns.size());
    sums[r] = canonical_row_sum(row, columns.size() + 1);
  }
}

}  // namespace meshparity
