// Native reductions add in an order nobody knows, so equality of bits is not to be had. What can be
// had: each step, computed from the run's own parameters, lies within the rounding bound that the
// oracle derives for sums of whole leaves in any order.

#include <algorithm>
#include <exception>
#include <map>

#include "model/error.h"
#include "model/model.h"
#include "oracle/compare.h"
#include "oracle/oracle.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/parity_properties.h"

namespace meshparity {
namespace {

using Tensors32 = std::map<std::string, std::vector<float>>;

/// The whole tensors of a run, put together from the shards of all ranks.
struct NativeRun {
  struct Step {
    std::optional<float> loss;
    Tensors32 values;
    Tensors32 gradients;
  };
  std::vector<Step> steps;  // one more than trained: the last holds the final values
  std::optional<std::string> replicas_differ;
};

class Assembler final : public StepObserver {
 public:
  explicit Assembler(NativeRun& run) : run_(run) {}
  void step(const StepView& view) override {
    NativeRun::Step& step = run_.steps.at(view.step);
    if (step.loss && !same_float(*step.loss, view.loss)) run_.replicas_differ = "loss";
    step.loss = view.loss;
    put(step.values, view.shards, [](const ShardView& shard) { return shard.values; });
    put(step.gradients, view.shards, [](const ShardView& shard) { return shard.gradient; });
  }
  void finished(std::span<const ShardView> shards) override {
    put(run_.steps.back().values, shards, [](const ShardView& shard) { return shard.values; });
  }

 private:
  template <typename Part>
  static void put(Tensors32& tensors, std::span<const ShardView> shards, Part part) {
    for (const ShardView& view : shards) {
      if (!view.counted) continue;
      std::vector<float>& whole = tensors[view.shard->spec.name];
      whole.resize(view.shard->spec.size());
      const std::span<const float> values = part(view);
      for (std::size_t i = 0; i < values.size(); ++i) {
        whole[view.shard->global_index(i)] = values[i];
      }
    }
  }

  NativeRun& run_;
};

/// One step of the run against the oracle's step from the same parameters.
std::optional<std::string> judge(const ParityCase& c, const Corpus& corpus, const NativeRun& run,
                                 std::size_t step, double& worst_ratio) {
  Batch batch;
  batch.tokens.resize(c.recipe.batch * corpus.context());
  batch.targets.resize(c.recipe.batch);
  corpus.draw(Corpus::Split::training, c.recipe.seed, step, 0, batch.tokens, batch.targets);

  Tensors parameters;
  for (const ParameterSpec& spec : parameters_of(model_layers(c.recipe, corpus.vocabulary()))) {
    parameters[spec.name] = widened(spec, run.steps[step].values.at(spec.name));
  }
  const OracleStep oracle = oracle_step(c.recipe, parameters, batch, SumOrder::leaves);

  std::optional<std::string> found;
  const auto hold = [&](const ParameterSpec& spec, const std::string& kind, const Bounded& expected,
                        std::span<const float> actual) {
    const RoundingBound bound(expected);
    ParameterSpec named = spec;
    named.name = kind + spec.name;
    const auto difference = first_difference(step, named, bound, actual);
    if (difference && !found) found = difference->text;
    return bound.worst_ratio(actual);
  };
  const float loss = *run.steps[step].loss;
  worst_ratio = std::max(worst_ratio, hold(scalar_spec("loss"), "", oracle.loss, {&loss, 1}));
  for (const ParameterStep& parameter : oracle.parameters) {
    const std::string& name = parameter.spec.name;
    const double ratio =
        hold(parameter.spec, "grad/", parameter.gradient, run.steps[step].gradients.at(name));
    worst_ratio = std::max(worst_ratio, ratio);
    // An update is mostly one rounding, always close to its bound: it is judged, but says little.
    hold(parameter.spec, "param/", parameter.updated, run.steps[step + 1].values.at(name));
  }
  return found;
}

}  // namespace

std::optional<std::string> difference_from_oracle(const ParityCase& c, double& worst_ratio) {
  const Corpus corpus(c.corpus, c.recipe.context);
  const RandomParameters initial(c.recipe.seed, c.recipe.init_scale);
  NativeRun run;
  run.steps.resize(c.recipe.steps + 1);
  try {
    SimOptions options;
    options.ranks = c.how.mesh.size();
    options.seed = c.scheduler_seed;
    run_simulated(options, [&](Comm& world) {
      Assembler assembler(run);
      trainer_named(c.trainer, c.how.mesh)
          .train({c.recipe, corpus, initial, assembler}, c.how, world);
    });
    if (run.replicas_differ) return "ranks disagree about the " + *run.replicas_differ;
    for (std::size_t step = 0; step < c.recipe.steps; ++step) {
      if (auto difference = judge(c, corpus, run, step, worst_ratio)) return difference;
    }
  } catch (const UsageError& error) {
    // Of a training that diverges on one rank too there is nothing to be held to the oracle.
    if (record_single(c, corpus).divergence.empty()) return error.what();
  } catch (const std::exception& error) {
    return error.what();
  }
  return std::nullopt;
}

}  // namespace meshparity
