#pragma once

#include <span>

#include "model/numerics/canonical_sum.h"
#include "model/numerics/kernels.h"
#include "model/layer.h"

namespace meshparity {

/// dW = X^T dY and db = sum of the rows of dY, pushed leaf by leaf onto gradients[0] and
/// gradients[1]. input: (samples, inputs), output_gradient: (samples, outputs), both with
/// contiguous rows.
void push_linear_gradients(const MicroBatch& batch, const MatrixView& input,
                           const MatrixView& output_gradient, std::span<PartialSum> gradients);

}  // namespace meshparity
