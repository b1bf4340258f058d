#include "oracle/recording.h"

#include <algorithm>

#include "oracle/compare.h"

namespace meshparity {
namespace {

/// A rank's part goes to its place in the whole tensor.
void put(const Shard& shard, std::span<const float> part, FloatTensors& tensors) {
  std::vector<float>& whole = tensors[shard.spec.name];
  whole.resize(shard.spec.size());
  if (shard.columns.size() == shard.spec.columns) {  // whole rows lie side by side
    if (part.empty()) return;
    std::ranges::copy(part, whole.begin() + static_cast<std::ptrdiff_t>(shard.global_index(0)));
    return;
  }
  for (std::size_t i = 0; i < part.size(); ++i) whole[shard.global_index(i)] = part[i];
}

/// Some rows and features go to their place at a boundary.
void put(const BoundaryView& view, std::vector<std::vector<float>>& boundaries) {
  boundaries.resize(std::max(boundaries.size(), view.boundary + 1));
  std::vector<float>& whole = boundaries[view.boundary];
  const std::size_t first_row = view.batch->slots.begin * view.batch->leaves.positions;
  const std::size_t rows = view.batch->rows();
  whole.resize(std::max(whole.size(), (first_row + rows) * view.width));
  const std::size_t here = view.features.size();
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t to = (first_row + r) * view.width + view.features.begin;
    std::ranges::copy(view.values.subspan(r * here, here),
                      whole.begin() + static_cast<std::ptrdiff_t>(to));
  }
}

}  // namespace

Recording::Step& Recorder::step_of(std::size_t number) {
  if (number >= recording_.steps.size()) recording_.steps.resize(number + 1);
  return recording_.steps[number];
}

void Recorder::step(const StepView& view) {
  Recording::Step& step = step_of(view.step);
  if (step.reports++ > 0 && !same_float(step.loss, view.loss)) recording_.replicas_differ = "loss";
  step.loss = view.loss;
  step.gradient_norm = view.gradient_norm;
  step.digest = view.digest;
  for (const ShardView& shard : view.shards) {
    put(*shard.shard, shard.values, step.values);
    put(*shard.shard, shard.gradient, step.gradients);
  }
}

void Recorder::finished(const StepView& view) {
  for (const ShardView& shard : view.shards) {
    put(*shard.shard, shard.values, recording_.final_values);
  }
}

void Recorder::value(const BoundaryView& view) {
  put(view, step_of(static_cast<std::size_t>(view.batch->step)).boundary_values);
}

void Recorder::gradient(const BoundaryView& view) {
  put(view, step_of(static_cast<std::size_t>(view.batch->step)).boundary_gradients);
}

}  // namespace meshparity
