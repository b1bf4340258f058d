// Every strategy gives the bits of one rank (see parity_properties.h). How many recipes are tried,
// and from which seed, is RapidCheck's RC_PARAMS.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "golden/files/corpus_file.h"
#include "model/numerics/aligned_floats.h"
#include "parallel/observe.h"
#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/parity_generator.h"
#include "property_tests/proof/parity_properties.h"

namespace meshparity {
namespace {

TEST(Parity, EveryStrategyOnSimulatedMeshes) {
  const Sample sample = rapidcheck_sample();
  ParityTally tally;
  EXPECT_TRUE(holds_simulated(sample, tally));
  std::cout << tally.distribution_text();
  if (sample.recipes < 100) return;  // too few to have met everything
  std::size_t kinds = 0;
  const auto json = tally.to_json();
  for (const auto& row : json["distribution"]) {
    if (!row["what"].get<std::string>().starts_with("subnormal")) continue;
    EXPECT_GT(row["cases"].get<std::size_t>(), 0U) << row["what"];
    ++kinds;
  }
  EXPECT_EQ(kinds, 3U);
}

TEST(Parity, TransformersOnSimulatedMeshes) {
  ParityTally tally;
  EXPECT_TRUE(holds_simulated(rapidcheck_sample(), tally, ModelKind::gpt2));
}

TEST(Parity, NativeReductionsWithinTheBound) {
  ParityTally tally;
  EXPECT_TRUE(holds_natively(rapidcheck_sample(), tally));
}

/// Asks for the norm that this step would have if every gradient were 1.
class NormOfOnes final : public StepObserver {
 public:
  explicit NormOfOnes(Comm& world) : world_(world) {}

  void step(const StepView& view) override {
    std::size_t most = 0;
    for (const ShardView& shard : view.shards) most = std::max(most, shard.gradient.size());
    const std::vector<float> ones(most, 1.0F);
    std::vector<ShardView> shards(view.shards.begin(), view.shards.end());
    for (ShardView& shard : shards) {
      shard.gradient = std::span(ones).first(shard.gradient.size());
    }
    StepObserver nobody;
    norm = observe_step(nobody, {.step = view.step, .loss = view.loss, .shards = shards}, world_,
                        true);
  }

  double norm = 0;

 private:
  Comm& world_;
};

TEST(Parity, GradientsOfOnesHaveTheRootOfTheirNumberAsNorm) {
  const bool holds = rc::check("every element counts once in the norm, on every mesh", [] {
    std::vector<ParityCase> cases = *parity_cases(Reduction::canonical, kSimulatedRanks);
    Recipe& recipe = cases.front().recipe;
    recipe.steps = 1;
    recipe.clip = 0;
    const Corpus corpus = corpus_of(recipe, cases.front().corpus);
    const Model model = model_of(recipe, corpus.vocabulary());
    const InitialParameters initial(recipe.seed);
    std::size_t elements = 0;
    for (const ParameterSpec& parameter : model.parameters) elements += parameter.size();
    for (const ParityCase& c : cases) {
      SimOptions options = c.world;
      options.ranks = c.how.mesh.size();
      std::vector<double> norms(options.ranks);
      run_simulated(options, [&](Comm& world) {
        NormOfOnes observer(world);
        entry_of(c.strategy).train({recipe, model, corpus, initial, observer}, c.how, world);
        norms[world.rank()] = observer.norm;
      });
      const double root = std::sqrt(static_cast<double>(elements));
      for (const double norm : norms) {
        if (norm == root) continue;
        RC_FAIL("smallest mesh: " + to_string(c.how.mesh) + "\nthe norm of " +
                std::to_string(elements) + " gradients of 1 is the root of " +
                std::to_string(norm * norm));
      }
    }
  });
  EXPECT_TRUE(holds);  // a failure prints this expression: a short one
}

/// Adds parameters that no other block uses yet.
std::vector<std::size_t> add(Model& model, std::vector<ParameterSpec> parameters) {
  std::vector<std::size_t> numbers;
  for (ParameterSpec& parameter : parameters) {
    parameter.initial = {Initial::Kind::uniform, 0.5F};
    numbers.push_back(model.parameters.size());
    model.parameters.push_back(std::move(parameter));
  }
  return numbers;
}

ParameterSpec matrix(const std::string& name, std::size_t rows, std::size_t columns) {
  return {.name = name, .rows = rows, .columns = columns};
}
ParameterSpec vector(const std::string& name, std::size_t size) {
  return {.name = name, .columns = size, .is_vector = true};
}

/// As many blocks as the recipe's own model, between the embedding and the output residual ones.
/// `uses[i]` says whose parameters residual block i takes: those of block uses[i] <= i.
Model residual_model(const Recipe& recipe, std::size_t vocabulary,
                     const std::vector<std::size_t>& uses) {
  const std::size_t width = recipe.context * recipe.embedding;
  Model model;
  model.blocks.push_back({"embedding", EmbeddingSpec{recipe.context},
                          add(model, {matrix("embedding", vocabulary, recipe.embedding)})});
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const std::string name = "residual." + std::to_string(i);
    model.blocks.push_back({name, FeedForwardSpec{recipe.feature_grain, recipe.feature_grain},
                            uses[i] < i ? model.blocks[1 + uses[i]].uses
                                        : add(model, {matrix(name + ".up", width, recipe.hidden),
                                                      vector(name + ".up_bias", recipe.hidden),
                                                      matrix(name + ".down", recipe.hidden, width),
                                                      vector(name + ".down_bias", width)})});
  }
  model.blocks.push_back(
      {"output",
       LinearSpec{.input_grain = recipe.feature_grain, .output_grain = recipe.vocab_grain},
       add(model, {matrix("output", width, vocabulary), vector("output_bias", vocabulary)})});
  model.head = {vocabulary, recipe.vocab_grain};
  return model;
}

TEST(Parity, ModelsThatUseParametersTwiceOnSimulatedMeshes) {
  std::optional<Strategy> failed;  // from then on RapidCheck shrinks, and only this one is trained
  EXPECT_TRUE(rc::check("a model of residual blocks gives one rank's bits on every mesh", [&] {
    const std::vector<ParityCase> cases =
        *parity_cases(Reduction::canonical, kSimulatedRanks, ModelKind::mlp);
    const Recipe& recipe = cases.front().recipe;
    std::vector<std::size_t> uses;
    for (std::size_t i = 0; i < recipe.layers; ++i) {
      uses.push_back(*rc::gen::inRange<std::size_t>(0, i + 1));
    }
    const std::size_t vocabulary = Corpus(cases.front().corpus, recipe.context).vocabulary();
    const Question question(cases.front(), residual_model(recipe, vocabulary, uses));
    for (const ParityCase& c : cases) {
      if (failed && c.strategy != *failed) continue;
      const auto difference = difference_simulated(c, question);
      if (!difference) continue;
      failed = c.strategy;
      RC_FAIL(failure_text(c, "sim", *difference));
    }
  }));
}

/// An MLP whose sizes leave every last leaf short.
ParityCase uneven_case(std::size_t steps) {
  ParityCase c;
  c.recipe.context = 2;
  c.recipe.embedding = 3;
  c.recipe.hidden = 5;
  c.recipe.batch = 7;
  c.recipe.steps = steps;
  c.recipe.batch_grain = 2;
  c.recipe.feature_grain = 2;
  c.corpus = "anna\nbob\ncleo\n";
  return c;
}

TEST(Parity, AParameterUsedTwiceGetsTheSumOfBothGradients) {
  const ParityCase c = uneven_case(1);
  const std::size_t vocabulary = Corpus(c.corpus, 2).vocabulary();
  // The same values apart: constants do not depend on names.
  Model apart = residual_model(c.recipe, vocabulary, {0, 1});
  Model tied = residual_model(c.recipe, vocabulary, {0, 0});
  for (Model* model : {&apart, &tied}) {
    for (ParameterSpec& parameter : model->parameters) {
      if (parameter.name.starts_with("residual")) {
        parameter.initial = {Initial::Kind::constant, 0.25F};
      }
    }
  }
  const Question of_apart(c, apart);
  const Question of_tied(c, tied);
  const FloatTensors& uses = of_apart.expected.steps[0].gradients;
  const FloatTensors& sums = of_tied.expected.steps[0].gradients;
  for (const char* tensor : {"up", "up_bias", "down", "down_bias"}) {
    const std::vector<float>& first = uses.at(std::string("residual.0.") + tensor);
    const std::vector<float>& second = uses.at(std::string("residual.1.") + tensor);
    const std::vector<float>& sum = sums.at(std::string("residual.0.") + tensor);
    for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], first[i] + second[i]) << tensor;
  }
}

#ifdef __SSE__
TEST(Parity, FlushedSubnormalsAreSeen) {
  ParityCase c = uneven_case(3);
  c.how.mesh = parse_mesh("dp=2");
  for (const float init_scale : {1e-19F, 2e-38F}) {
    c.recipe.init_scale = init_scale;
    const Question question(c);
    EXPECT_EQ(difference_simulated(c, question), std::nullopt);
    // One rank as it would compute if its processor flushed them; simulated ranks set what the
    // contract needs.
    const unsigned settings = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(settings | 0x8040U);
    const Question flushed(c, question.model);
    __builtin_ia32_ldmxcsr(settings);
    EXPECT_NE(difference_simulated(c, flushed), std::nullopt) << init_scale;
  }
}
#endif

TEST(Parity, LongSumsInSeveralMessages) {
  // Random recipes are small: here the first two matrices are sums that travel in pieces, several
  // under way at once.
  ParityCase c;
  c.recipe.context = 8;
  c.recipe.embedding = 32;
  c.recipe.hidden = 512;
  c.recipe.layers = 2;
  c.recipe.batch = 16;
  c.recipe.batch_grain = 1;
  c.recipe.feature_grain = 64;
  c.recipe.steps = 3;
  c.corpus = "ada\nbarbara\ngrace\nhedy\nkatherine\nmary\nradia\nsophie\n";
  const Question question(c);
  for (const char* mesh : {"dp=8", "fsdp=8", "tp=8", "dp=2,fsdp=4", "dp=4,tp=2", "fsdp=8,pp=2"}) {
    c.how.mesh = parse_mesh(mesh);
    c.how.microbatches = 2;
    c.strategy = strategy_for(c.how.mesh);
    const std::size_t data = c.how.mesh[Axis::dp] * c.how.mesh[Axis::fsdp];
    if (data == 8) {
      ASSERT_GT(c.recipe.hidden * c.recipe.hidden / data, Reducer::longest_message(data));
    }
    for (c.world.seed = 0; c.world.seed < 2; ++c.world.seed) {
      const auto difference = difference_simulated(c, question);
      EXPECT_FALSE(difference) << failure_text(c, "sim", *difference);
    }
  }
}

#ifdef MESHPARITY_WITH_MPI
void expect_bits_under_open_mpi(Strategy strategy) {
  constexpr std::size_t kCases = 9;
  ParityTally tally;
  EXPECT_TRUE(holds_under_mpi({strategy}, kCases, rapidcheck_sample().seed, tally));
  EXPECT_EQ(tally.cases("mpi"), kCases);
}

TEST(ParityMpi, TrainDpUnderOpenMpi) { expect_bits_under_open_mpi(Strategy::dp); }
TEST(ParityMpi, TrainFsdpUnderOpenMpi) { expect_bits_under_open_mpi(Strategy::fsdp); }
TEST(ParityMpi, TrainTpUnderOpenMpi) { expect_bits_under_open_mpi(Strategy::tp); }
TEST(ParityMpi, TrainPpUnderOpenMpi) { expect_bits_under_open_mpi(Strategy::pp); }
TEST(ParityMpi, TrainMeshUnderOpenMpi) { expect_bits_under_open_mpi(Strategy::mesh); }

TEST(ParityMpi, LargeBlocksThatRanksShowEachOther) {
  // Random recipes are small: here the first matrix is a block that neighbours map, and lent whole.
  ParityCase c;
  c.recipe.context = 16;
  c.recipe.embedding = 32;
  c.recipe.hidden = 640;
  c.recipe.batch = 12;
  c.recipe.batch_grain = 2;
  c.recipe.steps = 4;
  c.corpus = "ada\nbarbara\ngrace\nhedy\nkatherine\nmary\nradia\nsophie\n";
  ASSERT_GE(c.recipe.context * c.recipe.embedding * c.recipe.hidden * sizeof(float), kLargeBlock);
  std::vector<ParityCase> cases;
  for (const char* mesh :
       {"dp=2", "dp=3", "fsdp=2", "fsdp=4", "tp=2", "dp=2,fsdp=2", "dp=2,tp=2"}) {
    c.how.mesh = parse_mesh(mesh);
    c.strategy = strategy_for(c.how.mesh);
    cases.push_back(c);
  }
  const auto failure = failure_under_mpi(cases);
  EXPECT_FALSE(failure) << failure_text(cases[failure->number], "mpi", failure->difference);
}
#endif

}  // namespace
}  // namespace meshparity
