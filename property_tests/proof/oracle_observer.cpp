#include "property_tests/proof/oracle_observer.h"

#include <algorithm>

#include "model/train_single.h"
#include "oracle/judge.h"
#include "oracle/recording.h"

namespace meshparity {
namespace {

/// Judges each step when it is complete, and its update one step later, when that is known.
class OracleObserver final : public StepObserver {
 public:
  OracleObserver(const Recipe& recipe, const Model& model, const Corpus& corpus)
      : recipe_(recipe),
        model_(model),
        batches_(recipe, corpus),
        room_(batches_.room_for(recipe.batch)) {}

  BoundaryObserver* boundaries() override { return recorder_.boundaries(); }

  void step(const StepView& view) override {
    recorder_.step(view);
    if (view.step > 0) judge_last_update();
    draw(view.step);
    if (wants_end_to_end(view.step)) judge_whole_step();
    blocks_.add(judge_blocks(under_test()));
    note_difference(blocks_);
    ++verdict_.steps;
  }

  void finished(const StepView& view) override {
    recorder_.finished(view);
    if (verdict_.steps > 0) judge_last_update();
  }

  OracleVerdict verdict() {
    if (const auto* const worst = blocks_.worst()) {
      verdict_.worst_local_ratio = worst->second;
      verdict_.worst_local_what = worst->first;
    }
    Judgement all = end_to_end_;
    all.add(blocks_);
    if (const auto* const bluntest = all.bluntest()) {
      verdict_.bluntest_ratio = bluntest->second;
      verdict_.bluntest_what = bluntest->first;
    }
    return verdict_;
  }

 private:
  void draw(std::size_t step) {
    number_ = step;
    batch_ = batches_.draw(Corpus::Split::training, step, {0, recipe_.batch}, room_);
  }
  StepUnderTest under_test() const {
    return {.model = model_, .batch = batch_, .step = recording_.steps[number_], .number = number_};
  }
  /// A transformer's bound from end to end costs much, and widens with every position and channel.
  bool wants_end_to_end(std::size_t step) const {
    constexpr std::size_t kLargest = 256;
    constexpr std::size_t kEvery = 20;
    if (recipe_.model == ModelKind::mlp) return true;
    return positions_of(recipe_) * recipe_.channels <= kLargest && step % kEvery == 0;
  }
  void judge_whole_step() {
    const Judgement end_to_end = judge_end_to_end(under_test());
    const auto* const worst = end_to_end.worst();
    if (worst != nullptr && worst->second > verdict_.worst_ratio) {
      verdict_.worst_ratio = worst->second;
      verdict_.worst_tensor = worst->first;
      verdict_.worst_step = number_;
    }
    end_to_end_.add(end_to_end);
    note_difference(end_to_end_);
    ++verdict_.whole_steps;
  }
  void judge_last_update() {
    const Judgement update = judge_update(under_test(), state_after(recording_, number_), recipe_);
    if (const auto* const worst = update.worst()) {
      verdict_.worst_update_ratio = std::max(verdict_.worst_update_ratio, worst->second);
    }
    note_difference(update);
    ++verdict_.updates;
    recording_.steps[number_] = {};  // judged: its memory can go
  }
  void note_difference(const Judgement& judgement) {
    if (!verdict_.first_difference) verdict_.first_difference = judgement.first_difference;
  }

  const Recipe& recipe_;
  const Model& model_;
  BatchSource batches_;
  Batch room_;
  MicroBatch batch_;
  std::size_t number_ = 0;  // the step that is judged
  Recording recording_;
  Recorder recorder_{recording_, true};
  Judgement end_to_end_;
  Judgement blocks_;
  OracleVerdict verdict_;
};

}  // namespace

OracleVerdict hold_to_oracle(const Recipe& recipe, const Model& model, const Corpus& corpus) {
  OracleObserver observer(recipe, model, corpus);
  const InitialParameters initial(recipe.seed);
  train_single({recipe, model, corpus, initial, observer});
  return observer.verdict();
}

}  // namespace meshparity
