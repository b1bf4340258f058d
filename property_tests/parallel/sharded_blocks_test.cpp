// How often a fully sharded run communicates. That its bits are right is for the parity tests.
#include "parallel/sharded_blocks.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model/corpus.h"
#include "parallel/strategy.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/parallel/counting_comm.h"

namespace meshparity {
namespace {

constexpr std::size_t kRanks = 4;
constexpr std::size_t kMicrobatches = 2;
constexpr std::size_t kSteps = 3;

const Corpus& small_corpus() {
  static const Corpus corpus("anna\nbob\ncleo\n\nda\n", 3);
  return corpus;
}

/// 8 leaves: of each microbatch one for each rank, which is one node.
Recipe small_recipe() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 4;
  recipe.hidden = 10;
  recipe.layers = 3;
  recipe.batch = 16;
  recipe.batch_grain = 2;
  recipe.steps = kSteps;
  return recipe;
}

class Silent final : public StepObserver {};

/// What each rank starts in a whole run: [rank], by group.
std::vector<CountingComm::Counts> counts_of(Strategy strategy, const std::string& mesh) {
  const Recipe recipe = small_recipe();
  const Model model = model_of(recipe, small_corpus().vocabulary());
  const InitialParameters initial(recipe.seed);
  const Parallelism how{parse_mesh(mesh), kMicrobatches, ScheduleKind::one_f_one_b,
                        Reduction::canonical};
  std::vector<CountingComm::Counts> counts(how.mesh.size());
  run_simulated({.ranks = how.mesh.size(), .seed = 1}, [&](Comm& world) {
    CountingComm counting(world, counts[world.rank()]);
    Silent observer;
    entry_of(strategy).train({recipe, model, small_corpus(), initial, observer}, how, counting);
  });
  return counts;
}

TEST(ShardedBlocks, ABlockTravelsInOneMessageToEachRank) {
  const std::size_t blocks = model_of(small_recipe(), small_corpus().vocabulary()).blocks.size();
  ASSERT_GT(blocks, 4U);
  // Of each block and microbatch: its parameters, forward and backward, and its gradients.
  const std::size_t expected = kSteps * kMicrobatches * blocks * 3 * (kRanks - 1);
  for (const auto& counts : counts_of(Strategy::fsdp, "fsdp=4")) {
    EXPECT_EQ(counts.at("fsdp").loans, expected);
    EXPECT_EQ(counts.at("fsdp").messages, kSteps * kMicrobatches * (kRanks - 1));  // the loss
    EXPECT_EQ(counts.at("fsdp").collectives, 0U);
  }
  for (const auto& counts : counts_of(Strategy::mesh, "fsdp=4")) {
    EXPECT_EQ(counts.at("fsdp").loans, expected);
  }
}

TEST(ShardedBlocks, ARankAloneSendsNothing) {
  for (const auto& counts : counts_of(Strategy::mesh, "dp=2")) {
    EXPECT_FALSE(counts.contains("fsdp"));
  }
}

}  // namespace
}  // namespace meshparity
