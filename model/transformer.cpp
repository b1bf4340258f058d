#include "model/transformer.h"

#include <algorithm>

#include "model/linear.h"
#include "model/numerics/kernels.h"
#include "model/numerics/philox.h"

namespace meshparity {

Dropout dropout_of(const DropoutSpec& spec, const MicroBatch& batch) {
  if (!batch.training || spec.probability == 0) return {};
  return {.key = RandomStream(batch.seed, Stream::dropout).key(),
          .step = batch.step,
          .place = spec.place,
          .first_row = batch.slots.begin * batch.leaves.whole_sequence(),
          .probability = static_cast<float>(spec.probability),
          .scale = static_cast<float>(1 / (1 - spec.probability))};
}

std::span<const float> dropout_backward(const DropoutSpec& spec, const MicroBatch& batch,
                                        std::span<const float> dy, std::span<float> room) {
  const Dropout dropout = dropout_of(spec, batch);
  if (!dropout.active()) return dy;
  const std::span<float> dx = room.first(dy.size());
  std::ranges::copy(dy, dx.begin());
  apply_dropout(dropout, batch.rows(), dx);
  return dx;
}

void backward_through_layer_norm(const MicroBatch& batch, std::span<const float> input,
                                 std::span<const float> gain, const SavedMoments& moments,
                                 std::span<float> gradient, PartialSum& gain_gradient,
                                 PartialSum& bias_gradient) {
  const std::size_t width = gain.size();
  for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
    const Range rows = batch.leaves.rows_of(leaf, batch.samples());
    const auto of_rows = [&](std::span<const float> matrix) {
      return matrix.subspan(rows.begin * width, rows.size() * width);
    };
    add_layer_norm_gain(of_rows(input),
                        {moments.mean.subspan(rows.begin, rows.size()),
                         moments.inverse_deviation.subspan(rows.begin, rows.size())},
                        of_rows(gradient), gain_gradient.next_zeroed());
    gain_gradient.push();
  }
  push_bias_gradient(batch, MatrixView(gradient, batch.rows(), width), bias_gradient);
  layer_norm_backward(input, gain, moments, gradient, gradient);
}

}  // namespace meshparity
