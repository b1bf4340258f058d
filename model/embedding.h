#pragma once

#include <cstddef>
#include <span>

#include "model/batch.h"
#include "model/numerics/canonical_sum.h"

namespace meshparity {

/// Row i of output (indices, width) = the row of index indices[i], where that is among `held`, the
/// rows that `table` has. The other rows are left alone.
void gather_shared_rows(std::span<const float> table, std::size_t width, Range held,
                        std::span<const Token> indices, std::span<float> output);

/// The gradient of such a table: row t is the sum of the pieces of dy (indices, width) whose index
/// is t, in order, a leaf of the batch at a time; each row of the batch has equally many indices.
/// Where an index does not occur in a leaf it adds +0, which changes no sum.
void push_rows_gradient(const MicroBatch& batch, std::span<const Token> indices, Range held,
                        std::span<const float> dy, PartialSum& gradient);

}  // namespace meshparity
