#include "property_tests/proof/resume_controls.h"

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include "model/training.h"
#include "oracle/compare.h"

namespace meshparity {
namespace {

/// The step as each thing that depends on it is told.
struct Steps {
  std::size_t correction;
  std::size_t batch;
  std::size_t schedule;
  std::size_t dropout;
};

/// A tensor of each parameter.
class TensorSource final : public ParameterSource {
 public:
  explicit TensorSource(const FloatTensors& tensors) : tensors_(tensors) {}
  void fill(const Shard& shard, std::span<float> values) const override {
    const std::vector<float>& whole = tensors_.at(shard.spec.name);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = whole[shard.global_index(i)];
  }

 private:
  const FloatTensors& tensors_;
};

struct Made {
  float loss = 0;
  TrainedState state;
};

/// train_single's step, told a step for each of its uses.
Made one_step(const Question& question, const TrainedState& from, const Steps& steps) {
  const Recipe& recipe = question.recipe;
  const BatchSource batches(recipe, question.corpus);
  const Range all_samples{0, recipe.batch};
  const std::size_t rows = recipe.batch * batches.positions();
  const Range all_leaves = batches.all_leaves();
  AloneGroup alone;
  const Blocks blocks(question.model, {0, question.model.blocks.size()}, rows, alone);
  Head head(question.model.head, rows, alone);
  const TensorSource values(from.values);
  const TensorSource first(from.first_moments);
  const TensorSource second(from.second_moments);
  Parameters parameters(blocks, values);
  GradientSums gradients(blocks, parameters.shards(), batches, {&all_leaves, 1});
  PartialSum losses(all_leaves.end, all_leaves, 1);
  BoundaryGradients boundary_gradients(blocks, rows);
  Pass pass(blocks, batches, recipe.batch, boundary_gradients, nullptr);
  Optimizer optimizer(recipe, parameters.shards(), all_values(parameters),
                      {steps.correction, &first, &second});
  std::vector<ShardView> shards = optimizer.with_state(parameters.views());

  gradients.start(all_leaves);
  losses.start(all_leaves);
  pass.load(Corpus::Split::training, steps.batch, all_samples);
  MicroBatch batch = pass.batch();
  batch.step = steps.dropout;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    blocks[b].forward(batch, parameters(b), pass.value(b), pass.value(b + 1), pass.saved(b));
  }
  head.losses(batch, pass.output(), pass.output_gradient(), losses);
  for (std::size_t b = blocks.size(); b-- > 0;) {
    blocks[b].backward(batch, parameters(b), pass.value(b), pass.value(b + 1), pass.saved(b),
                       pass.gradient(b + 1), pass.gradient(b), gradients(b));
  }
  Made made{losses.total()[0] * batches.inverse_targets(steps.batch), {}};
  for (std::size_t p = 0; p < shards.size(); ++p) shards[p].gradient = gradients.add_uses(p);
  StepObserver nobody;
  optimizer.start_step(steps.schedule,
                       observe_step(nobody, 0, made.loss, shards, optimizer.needs_norm()));
  optimizer.update(shards);
  for (const ShardView& view : shards) {
    const std::string& name = view.shard->spec.name;
    made.state.values[name].assign(view.values.begin(), view.values.end());
    made.state.first_moments[name].assign(view.first_moment.begin(), view.first_moment.end());
    made.state.second_moments[name].assign(view.second_moment.begin(), view.second_moment.end());
  }
  return made;
}

bool same(const FloatTensors& a, const FloatTensors& b) {
  return std::ranges::all_of(a, [&](const auto& item) {
    const auto other = b.find(item.first);
    const std::vector<float> none;
    return std::ranges::equal(item.second, other == b.end() ? none : other->second, same_float);
  });
}

bool same(const TrainedState& a, const TrainedState& b) {
  return same(a.values, b.values) && same(a.first_moments, b.first_moments) &&
         same(a.second_moments, b.second_moments);
}

/// Every tensor of a state, changed in place.
template <typename Change>
void change_all(TrainedState& state, Change change) {
  for (FloatTensors* tensors : {&state.values, &state.first_moments, &state.second_moments}) {
    for (auto& item : *tensors) change(item.second);
  }
}

/// The elements share by share, the shares in another order.
void reorder(std::vector<float>& whole, std::span<const std::size_t> order) {
  std::vector<float> reordered;
  for (const std::size_t share : order) {
    const Range from = share_of(whole.size(), order.size(), share);
    reordered.insert(reordered.end(), whole.begin() + static_cast<std::ptrdiff_t>(from.begin),
                     whole.begin() + static_cast<std::ptrdiff_t>(from.end));
  }
  whole = std::move(reordered);
}

void exchange_tensors(const Model& model, TrainedState& state) {
  for (std::size_t p = 0; p < model.parameters.size(); ++p) {
    for (std::size_t q = 0; q < p; ++q) {
      const ParameterSpec& a = model.parameters[q];
      const ParameterSpec& b = model.parameters[p];
      if (a.rows != b.rows || a.columns != b.columns) continue;
      for (FloatTensors* tensors : {&state.values, &state.first_moments, &state.second_moments}) {
        if (tensors->contains(a.name)) std::swap((*tensors)[a.name], (*tensors)[b.name]);
      }
      return;
    }
  }
}

/// The state as a flawed checkpoint has it.
TrainedState with_flaw(const Question& question, const TrainedState& right, StateFlaw flaw) {
  TrainedState state = right;
  const auto zero = [](FloatTensors& tensors) {
    for (auto& item : tensors) std::ranges::fill(item.second, 0.0F);
  };
  if (flaw == StateFlaw::first_moments_lost) zero(state.first_moments);
  if (flaw == StateFlaw::second_moments_lost) zero(state.second_moments);
  if (flaw == StateFlaw::tensors_exchanged) exchange_tensors(question.model, state);
  if (flaw == StateFlaw::shards_exchanged) {
    constexpr std::array<std::size_t, 3> kOrder = {2, 1, 0};
    change_all(state, [&](std::vector<float>& whole) { reorder(whole, kOrder); });
  }
  if (flaw == StateFlaw::shards_in_lexical_order) {
    constexpr std::array<std::size_t, 11> kOrder = {0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9};
    change_all(state, [&](std::vector<float>& whole) { reorder(whole, kOrder); });
  }
  return state;
}

Steps steps_with(StateFlaw flaw, std::size_t step) {
  const auto told = [&](StateFlaw at_0) { return flaw == at_0 ? 0 : step; };
  return {told(StateFlaw::correction_at_0), told(StateFlaw::batch_at_0),
          told(StateFlaw::schedule_at_0), told(StateFlaw::dropout_at_0)};
}

/// False where a flaw changes nothing that the next step reads.
bool means_something(const Question& question, StateFlaw flaw, std::size_t step) {
  const Recipe& recipe = question.recipe;
  switch (flaw) {
    case StateFlaw::correction_at_0:
      return recipe.optimizer == OptimizerKind::adamw;
    case StateFlaw::schedule_at_0:
      return learning_rate(recipe, 0) != learning_rate(recipe, step);
    case StateFlaw::dropout_at_0:
      return recipe.model == ModelKind::gpt2 && recipe.dropout > 0;
    case StateFlaw::batch_at_0: {
      const BatchSource batches(recipe, question.corpus);
      Batch now = batches.room_for(recipe.batch);
      Batch then = now;
      batches.draw(Corpus::Split::training, step, {0, recipe.batch}, now);
      batches.draw(Corpus::Split::training, 0, {0, recipe.batch}, then);
      return now.tokens != then.tokens || now.targets != then.targets;
    }
    default:
      return true;  // or what is stored stays as it is
  }
}

TrainedState state_before(const Recording& run, std::size_t step) {
  const Recording::Step& found = run.steps.at(step);
  return {found.values, found.first_moments, found.second_moments};
}

}  // namespace

void count_state_flaws(const Question& question, std::size_t step, StateFlawCounts& counts) {
  const TrainedState right = state_before(question.expected, step);
  const TrainedState next = state_after(question.expected, step);
  for (std::size_t f = 0; f < counts.size(); ++f) {
    const auto flaw = static_cast<StateFlaw>(f);
    const Steps steps = steps_with(flaw, step);
    const TrainedState state = with_flaw(question, right, flaw);
    const bool told_wrong =
        steps.correction + steps.batch + steps.schedule + steps.dropout < 4 * step;
    if (flaw != StateFlaw::none && !told_wrong && same(state, right)) continue;
    if (!means_something(question, flaw, step)) continue;
    ++counts[f].tried;
    try {
      const Made made = one_step(question, state, steps);
      if (same_float(made.loss, question.expected.steps[step].loss) && same(made.state, next)) {
        continue;
      }
    } catch (const TrainingDiverged&) {
      // One rank did not.
    }
    ++counts[f].seen;
  }
}

bool flaws_are_seen(const StateFlawCounts& counts) {
  return counts[0].seen == 0 &&
         std::none_of(counts.begin() + 1, counts.end(), [](const StateFlawCount& count) {
           return count.tried > 0 && count.seen == 0;
         });
}

std::size_t fewest_tried(const StateFlawCounts& counts) {
  return std::ranges::min(counts, {}, &StateFlawCount::tried).tried;
}

std::string flaws_text(const StateFlawCounts& counts) {
  std::ostringstream text;
  for (std::size_t f = 0; f < counts.size(); ++f) {
    text << std::setw(8) << counts[f].seen << " of " << std::setw(5) << counts[f].tried << "  "
         << kStateFlaws[f] << "\n";
  }
  return text.str();
}

}  // namespace meshparity
