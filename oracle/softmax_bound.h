#pragma once

#include <cstddef>

#include "oracle/row_errors.h"
#include "oracle/sum_bound.h"

namespace meshparity::rounding {

/// One sample's softmax cross-entropy, as the oracle computed it.
struct SoftmaxRow {
  RowErrors::Row logits;
  RowErrors::Row probabilities;
  Index target = 0;
  double loss = 0;
};

/// How many names `softmax_bound` takes for each logit.
inline constexpr Index kSoftmaxUnknowns = 3;

/// Turns the errors of the logits into those of (probability - [is the target]), and returns the
/// bound of the loss. New unknowns are named from `first` on.
double softmax_bound(const SoftmaxRow& row, std::size_t vocab_grain, const Rules& rules,
                     RowErrors& errors, Unknown first);

}  // namespace meshparity::rounding
