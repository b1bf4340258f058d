#include "property_tests/proof/oracle_observer.h"

#include <algorithm>
#include <span>
#include <vector>

#include "model/train_single.h"
#include "oracle/compare.h"
#include "oracle/oracle.h"

namespace meshparity {
namespace {

/// Judges each step one step late, when its updated parameters are known.
class OracleObserver final : public StepObserver {
 public:
  OracleObserver(const Recipe& recipe, const Corpus& corpus) : recipe_(recipe), corpus_(corpus) {
    batch_.tokens.resize(recipe.batch * corpus.context());
    batch_.targets.resize(recipe.batch);
  }

  void step(const StepView& view) override {
    judge_updates(view.shards);
    corpus_.draw(Corpus::Split::training, recipe_.seed, view.step, 0, batch_.tokens,
                 batch_.targets);
    Tensors parameters;
    for (const ShardView& shard : view.shards) {
      parameters[shard.shard->spec.name] = widened(shard.shard->spec, shard.values);
    }
    step_ = view.step;
    oracle_ = oracle_step(recipe_, parameters, batch_);
    judge(scalar_spec("loss"), "", oracle_->loss, {&view.loss, 1});
    for (std::size_t i = 0; i < view.shards.size(); ++i) {
      judge(view.shards[i].shard->spec, "grad/", oracle_->parameters[i].gradient,
            view.shards[i].gradient);
    }
    ++verdict.steps;
  }

  void finished(std::span<const ShardView> shards) override { judge_updates(shards); }

  OracleVerdict verdict;

 private:
  void judge_updates(std::span<const ShardView> shards) {
    if (!oracle_) return;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const double ratio =
          hold(shards[i].shard->spec, "param/", oracle_->parameters[i].updated, shards[i].values);
      verdict.worst_update_ratio = std::max(verdict.worst_update_ratio, ratio);
    }
  }

  void judge(const ParameterSpec& spec, const std::string& kind, const Bounded& expected,
             std::span<const float> actual) {
    const double ratio = hold(spec, kind, expected, actual);
    if (ratio <= verdict.worst_ratio) return;
    verdict.worst_ratio = ratio;
    verdict.worst_tensor = kind + spec.name;
    verdict.worst_step = step_;
  }

  /// Remembers the first value outside its bound; returns the worst error / bound.
  double hold(const ParameterSpec& spec, const std::string& kind, const Bounded& expected,
              std::span<const float> actual) {
    const RoundingBound bound(expected);
    const double ratio = bound.worst_ratio(actual);
    if (ratio > 1 && !verdict.first_difference) {
      ParameterSpec named = spec;
      named.name = kind + spec.name;
      verdict.first_difference = first_difference(step_, named, bound, actual).value().text;
    }
    return ratio;
  }

  const Recipe& recipe_;
  const Corpus& corpus_;
  Batch batch_;
  std::size_t step_ = 0;
  std::optional<OracleStep> oracle_;
};

}  // namespace

OracleVerdict hold_to_oracle(const Recipe& recipe, const Corpus& corpus) {
  OracleObserver observer(recipe, corpus);
  const RandomParameters initial(recipe.seed, recipe.init_scale);
  train_single({recipe, corpus, initial, observer});
  return observer.verdict;
}

}  // namespace meshparity
