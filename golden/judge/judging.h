#pragma once

#include <span>
#include <string>
#include <vector>

#include "golden/judge/verdict.h"
#include "oracle/operations.h"

namespace meshparity {

/// The oracle's premises about a recording.
FreeArithmetic arithmetic_of(const RecordedStep& step);

BoundedMatrix matrix_of(const RecordedTensor& tensor);

/// Each row's part of the batch: what its loss is divided by, and what its gradient is multiplied
/// with afterwards.
struct RowScales {
  std::vector<double> losses;
  std::vector<double> gradients;
};
RowScales row_scales(const RecordedStep& step);

/// Adds a tensor's line, and the tensor itself if it is the first that differs. Throws
/// std::invalid_argument if the sizes differ.
void judge_tensor(StepVerdict& verdict, const std::string& tensor, const std::string& kind,
                  const std::vector<std::size_t>& shape, std::span<const float> actual,
                  const BoundedMatrix& expected);

/// Moments and parameters after the step, which are recorded, as is the optimizer.
void judge_recorded_update(const RecordedStep& step, StepVerdict& verdict);

}  // namespace meshparity
