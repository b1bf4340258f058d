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

/// An optimizer without moments leaves none.
void put_moments(const ShardView& view, FloatTensors& first, FloatTensors& second) {
  if (!view.first_moment.empty()) put(*view.shard, view.first_moment, first);
  if (!view.second_moment.empty()) put(*view.shard, view.second_moment, second);
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

TrainedState state_after(const Recording& run, std::size_t step) {
  if (step + 1 == run.steps.size()) {
    return {run.final_values, run.final_first_moments, run.final_second_moments};
  }
  const Recording::Step& next = run.steps.at(step + 1);
  return {next.values, next.first_moments, next.second_moments};
}

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
    put_moments(shard, step.first_moments, step.second_moments);
  }
}

void Recorder::finished(const StepView& view) {
  for (const ShardView& shard : view.shards) {
    put(*shard.shard, shard.values, recording_.final_values);
    put_moments(shard, recording_.final_first_moments, recording_.final_second_moments);
  }
}

void Recorder::value(const BoundaryView& view) {
  put(view, step_of(static_cast<std::size_t>(view.batch->step)).boundary_values);
}

void Recorder::gradient(const BoundaryView& view) {
  put(view, step_of(static_cast<std::size_t>(view.batch->step)).boundary_gradients);
}

}  // namespace meshparity
