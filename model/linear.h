#pragma once

#include "model/batch.h"
#include "model/numerics/canonical_sum.h"
#include "model/numerics/kernels.h"

namespace meshparity {

/// dW = X^T dY, by node where the batch's leaves are even, else by leaf: x (rows, inputs), dy
/// (rows, outputs), both with contiguous rows.
void push_weight_gradient(const MicroBatch& batch, const MatrixView& x, const MatrixView& dy,
                          PartialSum& gradient);

/// db = the sum of the rows of dY, by leaf.
void push_bias_gradient(const MicroBatch& batch, const MatrixView& dy, PartialSum& gradient);

}  // namespace meshparity
