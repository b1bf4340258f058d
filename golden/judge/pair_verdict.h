#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "golden/judge/verdict.h"

/// Two recordings of the same steps. Both may be right and differ by roundings, so each is judged
/// by itself; between them stands only what they must have alike.
namespace meshparity {

/// How far a tensor of two recordings is apart: root mean squares, relative to the first's.
struct TensorDifference {
  std::size_t step = 0;
  std::string tensor;
  double relative = 0;
};

struct PairVerdict {
  std::vector<StepVerdict> first;
  std::vector<StepVerdict> second;
  std::vector<std::string> unlike;  ///< what they should have had alike, in words
  std::vector<TensorDifference> differences;
};

/// Adds a step. `begins`: it is the recordings' first one, where parameters and moments must be the
/// same, too. (Later ones differ by what roundings made of them.)
void judge_pair(const RecordedStep& first, const RecordedStep& second, bool begins,
                PairVerdict& pair);

}  // namespace meshparity
