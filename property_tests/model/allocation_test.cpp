// A training step takes no memory: all of it was taken before the first one. Counts every
// allocation, so it is a program of its own.
#include <gtest/gtest.h>

#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/train_single.h"
#include "parallel/strategy.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/allocations.h"

namespace meshparity {
namespace {

constexpr std::size_t kSteps = 8;

/// How much had been allocated at the reports of all ranks of a run, by all of them: there is one
/// thread.
class Ledger {
 public:
  void note(std::size_t step) {
    if (step == 1) {  // a transport may grow its pools before
      EXPECT_EQ(when_the_first_ended_, 0U) << "a rank ended before another began";
      when_all_had_begun_ = allocations();
    }
    if (step + 1 == kSteps && when_the_first_ended_ == 0) when_the_first_ended_ = allocations();
    if (at_first_report_ == 0) at_first_report_ = allocations();
  }

  /// From the last report of step 1 to the first report of the last step.
  std::size_t while_training() const { return when_the_first_ended_ - when_all_had_begun_; }
  std::size_t before_training() const { return at_first_report_ - at_begin_; }

 private:
  std::size_t at_begin_ = allocations();
  std::size_t at_first_report_ = 0;
  std::size_t when_all_had_begun_ = 0;
  std::size_t when_the_first_ended_ = 0;
};

/// Enters the reports of a rank.
class AllocationObserver final : public StepObserver {
 public:
  AllocationObserver(Ledger& ledger, bool with_statistics)
      : ledger_(ledger), statistics_(with_statistics) {}
  bool wants_statistics() const override { return statistics_; }
  void step(const StepView& view) override { ledger_.note(view.step); }

 private:
  Ledger& ledger_;
  bool statistics_;
};

Recipe small_mlp() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 4;
  recipe.hidden = 12;
  recipe.layers = 4;
  recipe.batch = 22;
  recipe.batch_grain = 2;
  recipe.feature_grain = 2;
  recipe.vocab_grain = 3;
  recipe.steps = kSteps;
  return recipe;
}

/// With everything that a step may do: dropout, AdamW, clipping, and a head of its own or not.
Recipe small_gpt2(bool tied) {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.form = DataForm::lines;
  recipe.layers = 2;
  recipe.heads = 3;
  recipe.channels = 12;
  recipe.positions = 5;
  recipe.sequence_leaves = 2;
  recipe.batch = 11;
  recipe.vocab_grain = 2;
  recipe.dropout = 0.2;
  recipe.tied = tied;
  recipe.weight_decay = 0.1;
  recipe.clip = 0.01;
  recipe.steps = kSteps;
  return recipe;
}

std::vector<Recipe> small_recipes() { return {small_mlp(), small_gpt2(true), small_gpt2(false)}; }

Corpus small_corpus(const Recipe& recipe) {
  constexpr const char* kText = "anna\nbob\ncleo\n\nda\n";
  return recipe.model == ModelKind::mlp ? Corpus(kText, recipe.context)
                                        : Corpus::documents(kText, positions_of(recipe));
}

TEST(Allocation, ASingleRankTakesNoMemoryInAStep) {
  for (const Recipe& recipe : small_recipes()) {
    const Corpus corpus = small_corpus(recipe);
    const Model model = model_of(recipe, corpus.vocabulary());
    const InitialParameters initial(recipe.seed);
    for (const bool statistics : {false, true}) {
      Ledger ledger;
      AllocationObserver observer(ledger, statistics);
      train_single({recipe, model, corpus, initial, observer});
      EXPECT_EQ(ledger.while_training(), 0U) << name_of(recipe.model);
      EXPECT_GT(ledger.before_training(), 0U);
    }
  }
}

/// A strategy and a mesh it runs.
struct Way {
  std::string name;
  Strategy strategy;
  std::string mesh;
};

/// What ctest shows; by default it would be the bytes. The name is GoogleTest's.
// NOLINTNEXTLINE(readability-identifier-naming)
void PrintTo(const Way& way, std::ostream* out) { *out << way.mesh; }

class StrategyAllocation : public testing::TestWithParam<Way> {};

/// Trains on a simulated world and returns how much all ranks took in steps.
Ledger allocations_of(const Recipe& recipe, const Way& way, const Parallelism& how,
                      bool statistics) {
  const Corpus corpus = small_corpus(recipe);
  const Model model = model_of(recipe, corpus.vocabulary());
  const InitialParameters initial(recipe.seed);
  Ledger ledger;
  run_simulated({.ranks = how.mesh.size(), .seed = 1}, [&](Comm& world) {
    AllocationObserver observer(ledger, statistics);
    entry_of(way.strategy).train({recipe, model, corpus, initial, observer}, how, world);
  });
  return ledger;
}

TEST_P(StrategyAllocation, NoRankTakesMemoryInAStep) {
  const Mesh mesh = parse_mesh(GetParam().mesh);
  for (const Recipe& recipe : small_recipes()) {
    for (const bool statistics : {false, true}) {
      for (const ScheduleKind schedule : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
        for (const Reduction reduction : {Reduction::canonical, Reduction::native}) {
          const Ledger ledger =
              allocations_of(recipe, GetParam(), {mesh, 3, schedule, reduction}, statistics);
          EXPECT_EQ(ledger.while_training(), 0U)
              << name_of(recipe.model) << ", " << to_string(schedule)
              << (statistics ? ", statistics" : "")
              << (reduction == Reduction::native ? ", native" : "");
          EXPECT_GT(ledger.before_training(), 0U);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryStrategy, StrategyAllocation,
                         testing::Values(Way{"train_dp", Strategy::dp, "dp=3"},
                                         Way{"train_fsdp", Strategy::fsdp, "fsdp=3"},
                                         Way{"train_tp", Strategy::tp, "tp=3"},
                                         Way{"train_pp", Strategy::pp, "pp=4"},
                                         Way{"train_mesh", Strategy::mesh, "dp=2,fsdp=2,tp=2,pp=3"},
                                         Way{"train_mesh_on_one_rank", Strategy::mesh, ""}),
                         [](const testing::TestParamInfo<Way>& instance) {
                           return instance.param.name;
                         });

}  // namespace
}  // namespace meshparity
