#include "oracle/reference_trainer.h"

#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "oracle/optimizer_numbers.h"

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

TrainedState reference_update(const Model& model, const Recording::Step& step, const Recipe& recipe,
                              std::size_t number) {
  const OptimizerNumbers n = optimizer_numbers(recipe, number, step.gradients);
  TrainedState state{step.values, step.first_moments, step.second_moments};
  for (const ParameterSpec& spec : model.parameters) {
    const std::vector<float>& gradient = step.gradients.at(spec.name);
    std::vector<float>& values = state.values.at(spec.name);
    if (recipe.optimizer == OptimizerKind::sgd) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = std::fma(-n.lr, n.clip * gradient[i], values[i]);
      }
      continue;
    }
    std::vector<float>& first = state.first_moments[spec.name];
    std::vector<float>& second = state.second_moments[spec.name];
    first.resize(values.size());
    second.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float g = n.clip * gradient[i];
      float& w = values[i];
      first[i] = std::fma(n.beta1, first[i], n.one_minus_beta1 * g);
      second[i] = std::fma(n.beta2, second[i], (n.one_minus_beta2 * g) * g);
      if (spec.decays) w = std::fma(-n.decay, w, w);
      const float root = std::sqrt(second[i]) * n.inverse_root;
      w = std::fma(-n.step_size, first[i] / (root + n.epsilon), w);
    }
  }
  return state;
}

void train_reference(const TrainingRun& run, const ElementaryFunctions& functions) {
  const BatchSource batches(run.recipe, run.corpus);
  Batch room = batches.room_for(run.recipe.batch);
  const bool has_moments = run.recipe.optimizer == OptimizerKind::adamw;
  std::vector<Shard> shards;
  TrainedState state;
  for (const ParameterSpec& spec : run.model.parameters) {
    std::vector<float>& initial = state.values[spec.name];
    initial.resize(spec.size());
    run.initial.fill(shards.emplace_back(spec), initial);
    if (!has_moments) continue;
    state.first_moments[spec.name].resize(spec.size());
    state.second_moments[spec.name].resize(spec.size());
  }
  const auto views_of = [&](const FloatTensors* gradients) {
    std::vector<ShardView> views;
    for (const Shard& shard : shards) {
      const std::string& name = shard.spec.name;
      views.push_back({&shard, true, state.values.at(name), {}});
      if (gradients != nullptr) views.back().gradient = gradients->at(name);
      if (!has_moments) continue;
      views.back().first_moment = state.first_moments.at(name);
      views.back().second_moment = state.second_moments.at(name);
    }
    return views;
  };

  for (std::size_t s = 0; s < run.recipe.steps; ++s) {
    const MicroBatch batch = batches.draw(Corpus::Split::training, s, {0, run.recipe.batch}, room);
    Recording::Step step = reference_step(run.model, state.values, batch, functions);
    if (auto* const boundaries = run.observer.boundaries()) {
      show_boundaries(step, batch, *boundaries);
    }
    if (!std::isfinite(step.loss)) throw TrainingDiverged(s, "loss", step.loss);
    if (run.recipe.clip > 0) {
      const double norm = norm_of(step.gradients);
      if (!std::isfinite(norm)) throw TrainingDiverged(s, "norm of the gradient", norm);
    }
    const std::vector<ShardView> views = views_of(&step.gradients);
    run.observer.step({.step = s, .loss = step.loss, .shards = views});
    step.first_moments = std::move(state.first_moments);
    step.second_moments = std::move(state.second_moments);
    state = reference_update(run.model, step, run.recipe, s);
  }
  const std::vector<ShardView> views = views_of(nullptr);
  run.observer.finished({.step = run.recipe.steps, .shards = views});
}

}  // namespace meshparity
