#include "oracle/reference_trainer.h"

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "model/recipe.h"

namespace meshparity {
namespace {

Floats floats_of(const ParameterSpec& spec, const FloatTensors& values) {
  const auto found = values.find(spec.name);
  if (found == values.end() || found->second.size() != spec.size()) {
    throw std::invalid_argument(spec.name + " is missing or has the wrong size");
  }
  Floats result(spec.rows, spec.columns);
  result.values = found->second;
  return result;
}

/// Shows the boundaries of a step in the order in which trainers reach them.
void show_boundaries(const Recording::Step& step, const MicroBatch& batch,
                     BoundaryObserver& observer) {
  const auto view = [&](std::size_t boundary, const std::vector<float>& values) {
    const std::size_t width = values.size() / batch.rows();
    return BoundaryView{.boundary = boundary,
                        .batch = &batch,
                        .width = width,
                        .features = {0, width},
                        .counted = true,
                        .values = values};
  };
  const std::size_t boundaries = step.boundary_values.size();
  for (std::size_t b = 1; b < boundaries; ++b) observer.value(view(b, step.boundary_values[b]));
  for (std::size_t b = boundaries; b-- > 1;) {
    observer.gradient(view(b, step.boundary_gradients[b]));
  }
}

}  // namespace

Recording::Step reference_step(const Model& model, const FloatTensors& values,
                               const MicroBatch& batch, const ElementaryFunctions& functions) {
  equations::require_fit(model, batch);
  std::vector<Floats> parameters;
  for (const ParameterSpec& spec : model.parameters) parameters.push_back(floats_of(spec, values));

  Literal literal(batch, functions);
  auto step = equations::step(literal, model, parameters);
  Recording::Step result;
  result.loss = step.loss.values[0];
  result.values = values;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    result.gradients[model.parameters[p].name] = std::move(step.parameters[p].values);
  }
  for (Floats& rows : step.pass.values) result.boundary_values.push_back(std::move(rows.values));
  for (Floats& rows : step.gradients) result.boundary_gradients.push_back(std::move(rows.values));
  return result;
}

FloatTensors reference_update(const Recording::Step& step, float lr) {
  FloatTensors updated = step.values;
  for (auto& [name, values] : updated) {
    const std::vector<float>& gradient = step.gradients.at(name);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = std::fma(-lr, gradient[i], values[i]);
    }
  }
  return updated;
}

void train_reference(const TrainingRun& run, const ElementaryFunctions& functions) {
  const BatchSource batches(run.recipe, run.corpus);
  Batch room = batches.room_for(run.recipe.batch);
  std::vector<Shard> shards;
  FloatTensors values;
  for (const ParameterSpec& spec : run.model.parameters) {
    std::vector<float>& initial = values[spec.name];
    initial.resize(spec.size());
    run.initial.fill(shards.emplace_back(spec), initial);
  }
  const auto views_of = [&](const FloatTensors* gradients) {
    std::vector<ShardView> views;
    for (const Shard& shard : shards) {
      views.push_back({&shard, true, values.at(shard.spec.name), {}});
      if (gradients != nullptr) views.back().gradient = gradients->at(shard.spec.name);
    }
    return views;
  };

  for (std::size_t s = 0; s < run.recipe.steps; ++s) {
    const MicroBatch batch = batches.draw(Corpus::Split::training, s, {0, run.recipe.batch}, room);
    const Recording::Step step = reference_step(run.model, values, batch, functions);
    if (auto* const boundaries = run.observer.boundaries()) {
      show_boundaries(step, batch, *boundaries);
    }
    if (!std::isfinite(step.loss)) throw TrainingDiverged(s, "loss", step.loss);
    const std::vector<ShardView> views = views_of(&step.gradients);
    run.observer.step({.step = s, .loss = step.loss, .shards = views});
    values = reference_update(step, static_cast<float>(run.recipe.lr));
  }
  const std::vector<ShardView> views = views_of(nullptr);
  run.observer.finished({.step = run.recipe.steps, .shards = views});
}

}  // namespace meshparity
