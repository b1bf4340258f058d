#include "oracle/judge.h"

#include <algorithm>
#include <stdexcept>

#include "oracle/compare.h"

namespace meshparity {
namespace {

const std::vector<float>& tensor_of(const FloatTensors& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument(name + " was not recorded");
  return found->second;
}

Tensors parameters_of(const StepUnderTest& test) {
  Tensors parameters;
  for (const ParameterSpec& spec : test.model.parameters) {
    parameters[spec.name] = widened(spec, tensor_of(test.step.values, spec.name));
  }
  return parameters;
}

ParameterSpec named(ParameterSpec spec, const std::string& prefix) {
  spec.name = prefix + spec.name;
  return spec;
}

/// Collects the verdicts of one step.
class Holding {
 public:
  explicit Holding(std::size_t step) : step_(step) {}

  void hold(const ParameterSpec& spec, const Bounded& expected, std::span<const float> actual) {
    const RoundingBound bound(expected);
    const double ratio = bound.worst_ratio(actual);
    const bool exact = std::ranges::all_of(expected.bound, [](double b) { return b == 0; });
    if (!exact || ratio > 0) {
      double& worst = judgement_.ratios[spec.name];
      worst = std::max(worst, ratio);
    }
    if (ratio > 1 && !judgement_.first_difference) {
      judgement_.first_difference = first_difference(step_, spec, bound, actual).value().text;
    }
  }
  void hold(const std::string& name, const Bounded& expected, float actual) {
    hold(scalar_spec(name), expected, {&actual, 1});
  }
  /// Rows of the batch.
  void hold_rows(const std::string& name, const Bounded& expected, std::size_t rows,
                 std::span<const float> actual) {
    ParameterSpec spec;
    spec.name = name;
    spec.rows = rows;
    spec.columns = expected.value.size() / rows;
    hold(spec, expected, actual);
  }
  const Judgement& judgement() const { return judgement_; }

 private:
  std::size_t step_;
  Judgement judgement_;
};

/// The blocks that use a parameter, as text.
std::string users_of(const Model& model, std::size_t parameter) {
  std::string users;
  for (const BlockSpec& block : model.blocks) {
    if (std::ranges::find(block.uses, parameter) == block.uses.end()) continue;
    users += (users.empty() ? "" : "+") + block.name;
  }
  return users;
}

}  // namespace

void Judgement::add(const Judgement& later) {
  for (const auto& [name, ratio] : later.ratios) {
    double& worst = ratios[name];
    worst = std::max(worst, ratio);
  }
  if (!first_difference) first_difference = later.first_difference;
}

const std::pair<const std::string, double>* Judgement::worst() const {
  const auto found =
      std::ranges::max_element(ratios, {}, [](const auto& entry) { return entry.second; });
  return found == ratios.end() ? nullptr : &*found;
}

const std::pair<const std::string, double>* Judgement::bluntest() const {
  const auto found =
      std::ranges::min_element(ratios, {}, [](const auto& entry) { return entry.second; });
  return found == ratios.end() ? nullptr : &*found;
}

Judgement judge_end_to_end(const StepUnderTest& test) {
  const OracleStep oracle = oracle_step(test.model, parameters_of(test), test.batch, test.order);
  Holding holding(test.number);
  holding.hold("loss", oracle.loss, test.step.loss);
  for (std::size_t p = 0; p < test.model.parameters.size(); ++p) {
    const ParameterSpec& spec = test.model.parameters[p];
    holding.hold(named(spec, "grad/"), oracle.gradients[p],
                 tensor_of(test.step.gradients, spec.name));
  }
  return holding.judgement();
}

Judgement judge_blocks(const StepUnderTest& test) {
  const std::vector<BlockSpec>& blocks = test.model.blocks;
  const auto& values = test.step.boundary_values;
  const auto& gradients = test.step.boundary_gradients;
  const OracleLocal oracle =
      oracle_local(test.model, parameters_of(test), test.batch, values, gradients, test.order);

  Holding holding(test.number);
  const std::size_t rows = test.batch.rows();
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    holding.hold_rows(blocks[b].name + " output", oracle.blocks[b].output, rows, values[b + 1]);
  }
  holding.hold("head loss", oracle.loss, test.step.loss);
  holding.hold_rows("head logit gradient", oracle.logit_gradient, rows, gradients.back());
  for (std::size_t b = blocks.size(); b-- > 1;) {
    holding.hold_rows(blocks[b].name + " input gradient", oracle.blocks[b].input_gradient, rows,
                      gradients[b]);
  }
  for (std::size_t p = 0; p < test.model.parameters.size(); ++p) {
    const ParameterSpec& spec = test.model.parameters[p];
    holding.hold(named(spec, users_of(test.model, p) + " grad/"), oracle.gradients[p],
                 tensor_of(test.step.gradients, spec.name));
  }
  return holding.judgement();
}

Judgement judge_update(const StepUnderTest& test, const TrainedState& updated,
                       const Recipe& recipe) {
  Holding holding(test.number);
  UpdateUnderTest update;
  update.optimizer = recipe.optimizer;
  update.numbers = optimizer_numbers(recipe, test.number, test.step.gradients);
  const bool has_moments = recipe.optimizer == OptimizerKind::adamw;
  for (const ParameterSpec& spec : test.model.parameters) {
    update.decays = spec.decays;
    update.values = tensor_of(test.step.values, spec.name);
    update.gradient = tensor_of(test.step.gradients, spec.name);
    if (has_moments) {
      update.first_moment = tensor_of(test.step.first_moments, spec.name);
      update.second_moment = tensor_of(test.step.second_moments, spec.name);
      update.new_first_moment = tensor_of(updated.first_moments, spec.name);
      update.new_second_moment = tensor_of(updated.second_moments, spec.name);
    }
    const BoundedUpdate expected = bounded_update(update);
    if (has_moments) {
      holding.hold(named(spec, "first_moment/"), expected.first_moment, update.new_first_moment);
      holding.hold(named(spec, "second_moment/"), expected.second_moment, update.new_second_moment);
    }
    holding.hold(named(spec, "param/"), expected.values, tensor_of(updated.values, spec.name));
  }
  return holding.judgement();
}

}  // namespace meshparity
