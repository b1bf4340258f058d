#include "property_tests/proof/parity_check.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <span>

#include "model/error.h"
#include "model/train_single.h"
#include "oracle/compare.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

class Recorder final : public StepObserver {
 public:
  explicit Recorder(Recording& recording) : recording_(recording) {}
  bool wants_statistics() const override { return true; }
  void step(const StepView& view) override {
    Recording::Step& step = recording_.steps.emplace_back();
    step.loss = view.loss;
    step.gradient_norm = view.gradient_norm;
    step.digest = view.digest;
    for (const ShardView& shard : view.shards) {
      const std::string& name = shard.shard->spec.name;
      step.values[name].assign(shard.values.begin(), shard.values.end());
      step.gradients[name].assign(shard.gradient.begin(), shard.gradient.end());
    }
  }
  void finished(std::span<const ShardView> shards) override {
    for (const ShardView& shard : shards) {
      recording_.final_values[shard.shard->spec.name].assign(shard.values.begin(),
                                                             shard.values.end());
    }
  }

 private:
  Recording& recording_;
};

/// A whole copy beside this rank's own part of the parameter: the gradient is with that part.
bool is_copy_of_values(const ShardView& view, std::span<const ShardView> all) {
  return !view.counted && view.gradient.empty() && std::ranges::any_of(all, [&](const auto& other) {
    return other.counted && other.shard->spec.name == view.shard->spec.name;
  });
}

/// The sign of a NaN is no part of the promise.
std::string without_sign_of_nan(std::string text) {
  if (const std::size_t at = text.find("-nan"); at != std::string::npos) text.erase(at, 1);
  return text;
}

/// Compares, and remembers the first difference.
class Comparison final : public StepObserver {
 public:
  Comparison(const Recording& expected, std::size_t rank) : expected_(expected), rank_(rank) {}
  bool wants_statistics() const override { return true; }

  void step(const StepView& view) override {
    ++steps_;
    if (found_ || view.step >= expected_.steps.size()) return;
    const Recording::Step& expected = expected_.steps[view.step];
    // Cause before effect: what the step started from, then the gradient, before the optimizer.
    for (const ShardView& shard : view.shards) {
      compare(view.step, Kind::parameter, shard, expected.values, shard.values);
    }
    for (const ShardView& shard : view.shards) {
      if (is_copy_of_values(shard, view.shards)) continue;
      compare(view.step, Kind::gradient, shard, expected.gradients, shard.gradient);
    }
    note(view.step, Kind::loss,
         first_difference(view.step, scalar_spec("loss"), Exact({&expected.loss, 1}),
                          {&view.loss, 1}));
    if (found_) return;
    if (std::bit_cast<std::uint64_t>(view.gradient_norm) !=
            std::bit_cast<std::uint64_t>(expected.gradient_norm) ||
        view.digest != expected.digest) {
      found_ = {view.step, Kind::statistics,
                "step " + std::to_string(view.step) + ", rank " + std::to_string(rank_) +
                    ": every shard of this rank agrees, but gradient norm or digest do not: the "
                    "counted shards do not cover each element once"};
    }
  }

  void finished(std::span<const ShardView> shards) override {
    ++ends_;
    for (const ShardView& shard : shards) {
      compare(expected_.steps.size(), Kind::parameter, shard, expected_.final_values, shard.values);
    }
  }

  void diverged(const std::string& how) { divergence_ = how; }

  std::optional<Difference> result() {
    if (!found_ && without_sign_of_nan(divergence_) != without_sign_of_nan(expected_.divergence)) {
      found_ = {steps_, Kind::missing,
                "rank " + std::to_string(rank_) + " ended with '" + divergence_ +
                    "', one rank with '" + expected_.divergence + "'"};
    }
    const std::size_t ends = expected_.divergence.empty() ? 1 : 0;
    if (!found_ && (steps_ != expected_.steps.size() || ends_ != ends)) {
      found_ = {steps_, Difference::Kind::missing,
                "rank " + std::to_string(rank_) + " reported " + std::to_string(steps_) +
                    " steps of " + std::to_string(expected_.steps.size())};
    }
    return found_;
  }

 private:
  using Kind = Difference::Kind;

  void compare(std::size_t step, Kind kind, const ShardView& view,
               const std::map<std::string, std::vector<float>>& expected,
               std::span<const float> actual) {
    if (found_) return;
    const Exact exact(expected.at(view.shard->spec.name));
    if (!first_difference(step, *view.shard, rank_, exact, actual)) return;
    Shard named = *view.shard;
    named.spec.name = (kind == Kind::parameter ? "param/" : "grad/") + named.spec.name;
    note(step, kind, first_difference(step, named, rank_, exact, actual));
  }
  void note(std::size_t step, Kind kind, const std::optional<FirstDifference>& difference) {
    if (!found_ && difference) found_ = {step, kind, difference->text};
  }

  const Recording& expected_;
  std::size_t rank_;
  std::size_t steps_ = 0;
  std::size_t ends_ = 0;
  std::string divergence_;
  std::optional<Difference> found_;
};

}  // namespace

Recording record_single(const ParityCase& c, const Corpus& corpus) {
  Recording recording;
  Recorder recorder(recording);
  const RandomParameters initial(c.recipe.seed, c.recipe.init_scale);
  try {
    train_single({c.recipe, corpus, initial, recorder});
  } catch (const UsageError& error) {
    if (recording.steps.empty()) throw;  // the recipe was refused
    recording.divergence = error.what();
  }
  return recording;
}

std::optional<Difference> difference_on(Comm& world, const ParityCase& c, const Corpus& corpus,
                                        const Recording& expected) {
  Comparison comparison(expected, world.rank());
  const RandomParameters initial(c.recipe.seed, c.recipe.init_scale);
  try {
    trainer_named(c.trainer, c.how.mesh)
        .train({c.recipe, corpus, initial, comparison}, c.how, world);
  } catch (const UsageError& error) {
    if (expected.divergence.empty()) throw;
    comparison.diverged(error.what());
  }
  return comparison.result();
}

std::optional<std::string> difference_simulated(const ParityCase& c) {
  std::vector<std::optional<Difference>> differences(c.how.mesh.size());
  try {
    const Corpus corpus(c.corpus, c.recipe.context);
    const Recording expected = record_single(c, corpus);
    SimOptions options;
    options.ranks = c.how.mesh.size();
    options.seed = c.scheduler_seed;
    run_simulated(options, [&](Comm& world) {
      differences[world.rank()] = difference_on(world, c, corpus, expected);
    });
  } catch (const std::exception& error) {
    return error.what();
  }
  std::optional<Difference> first;
  for (const auto& difference : differences) {
    if (difference && (!first || difference->comes_before(*first))) first = difference;
  }
  return first ? std::optional(first->text) : std::nullopt;
}

}  // namespace meshparity
