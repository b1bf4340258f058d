#pragma once

#include <cstddef>
#include <span>

#include "model/batch.h"
#include "model/model.h"
#include "model/numerics/canonical_sum.h"
#include "model/numerics/transformer_kernels.h"

/// What the transformer's blocks have in common.
namespace meshparity {

/// What a place drops of a microbatch: nothing outside of training.
Dropout dropout_of(const DropoutSpec& spec, const MicroBatch& batch);

/// The gradient of what went into a dropout, given that of what came out: `dy` itself where nothing
/// is dropped, else written to `room`.
std::span<const float> dropout_backward(const DropoutSpec& spec, const MicroBatch& batch,
                                        std::span<const float> dy, std::span<float> room);

/// Memory that a block saves, as (rows, width) matrices one after the other.
template <typename Float>
class SavedRows {
 public:
  SavedRows(std::span<Float> saved, std::size_t rows) : rest_(saved), rows_(rows) {}

  std::span<Float> next(std::size_t width) {
    const std::span<Float> matrix = rest_.first(rows_ * width);
    rest_ = rest_.subspan(matrix.size());
    return matrix;
  }

 private:
  std::span<Float> rest_;
  std::size_t rows_;
};

/// Floats a row that a layer norm saves.
inline constexpr std::size_t kSavedMoments = 2;

/// Backward through the layer norm that a block begins with: `gradient`, that of its output,
/// becomes that of its input; those of gain and bias are pushed, leaf by leaf.
void backward_through_layer_norm(const MicroBatch& batch, std::span<const float> input,
                                 std::span<const float> gain, const SavedMoments& moments,
                                 std::span<float> gradient, PartialSum& gain_gradient,
                                 PartialSum& bias_gradient);

}  // namespace meshparity
