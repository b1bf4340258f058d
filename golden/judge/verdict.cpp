#include "golden/judge/verdict.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "golden/judge/judging.h"

namespace meshparity {
namespace {

/// Bounds that hold nothing but numbers flushed to zero.
constexpr double kUnderflowOnly = 0x1p-100;

/// Root mean squares of bounds and errors over that of the values.
void compare_sizes(std::span<const float> actual, const BoundedMatrix& expected,
                   VerdictLine& line) {
  double bounds = 0;
  double errors = 0;
  double values = 0;
  for (std::size_t i = 0; i < expected.value.size(); ++i) {
    const double bound = expected.bound_of(i);
    const double error = static_cast<double>(actual[i]) - expected.value[i];
    // A bound that is no number is none.
    const double width = std::isfinite(bound) ? bound : std::numeric_limits<double>::infinity();
    bounds += width * width;
    errors += error * error;
    values += expected.value[i] * expected.value[i];
  }
  const auto n = static_cast<double>(std::max<std::size_t>(expected.value.size(), 1));
  line.bluntness = std::sqrt(bounds / n) <= kUnderflowOnly ? 0 : std::sqrt(bounds / values);
  line.relative_error = errors == 0 ? 0 : std::sqrt(errors / values);
}

}  // namespace

bool StepVerdict::different() const {
  return !replicas.empty() || std::ranges::any_of(lines, [](const VerdictLine& line) {
    return line.state == LineState::different;
  });
}

bool StepVerdict::unverified() const {
  return !missing.empty() || !reasons.empty() ||
         std::ranges::any_of(lines, [](const VerdictLine& line) {
           return line.state == LineState::blunt || line.state == LineState::coarser;
         });
}

FreeArithmetic arithmetic_of(const RecordedStep& step) {
  FreeArithmetic arithmetic;
  if (step.arithmetic == RecordedArithmetic::tf32) arithmetic = FreeArithmetic::tf32();
  if (step.arithmetic == RecordedArithmetic::bf16) arithmetic = FreeArithmetic::bfloat16();
  arithmetic.longest_chain = step.longest_chain;
  return arithmetic;
}

BoundedMatrix matrix_of(const RecordedTensor& tensor) {
  return exact_matrix(tensor.rows(), tensor.columns(), tensor.values);
}

RowScales row_scales(const RecordedStep& step) {
  const auto targets = static_cast<double>(
      std::ranges::count_if(step.targets, [](Token target) { return target >= 0; }));
  RowScales scales{std::vector<double>(step.rows()), std::vector<double>(step.rows())};
  for (const RecordedPart& part : step.parts) {
    for (std::size_t row = part.samples.begin * step.positions;
         row < part.samples.end * step.positions; ++row) {
      scales.losses[row] = targets > 0 ? 1 / (targets * part.weight) : 0;
      scales.gradients[row] = part.weight;
    }
  }
  return scales;
}

void judge_tensor(StepVerdict& verdict, const std::string& tensor, const std::string& kind,
                  const std::vector<std::size_t>& shape, std::span<const float> actual,
                  const BoundedMatrix& expected) {
  if (actual.size() != expected.value.size()) {
    throw std::invalid_argument("tensor '" + tensor + "' does not fit what it is compared with");
  }
  VerdictLine line{.step = verdict.step, .tensor = tensor, .kind = kind, .shape = shape};
  line.worst_ratio = -1;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected.value[i]);
    const double bound = expected.bound_of(i);
    double ratio = 0;
    if (error > 0 && std::isfinite(bound)) {
      ratio = bound > 0 ? error / bound : std::numeric_limits<double>::infinity();
    }
    if (ratio <= line.worst_ratio) continue;
    line.worst_ratio = ratio;
    line.element = i;
    line.actual = static_cast<double>(actual[i]);
    line.expected = expected.value[i];
    line.bound = bound;
  }
  line.worst_ratio = std::max(line.worst_ratio, 0.0);
  compare_sizes(actual, expected, line);
  // Not "> 1": a ratio that is no number must not pass.
  if (!(line.worst_ratio <= 1)) {
    line.state = LineState::different;
  } else if (!(line.bluntness <= kBlunt)) {
    line.state = LineState::blunt;
  }
  if (line.state == LineState::different && !verdict.first) {
    verdict.first = {tensor,         kind,          shape, {actual.begin(), actual.end()},
                     expected.value, expected.bound};
    verdict.first->bound.resize(expected.value.size(), 0);
  }
  verdict.lines.push_back(std::move(line));
}

}  // namespace meshparity
