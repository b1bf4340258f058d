// What the random cases reach: every situation that the proof says it covers, from any seed, and
// other cases from another seed.

#include "property_tests/proof/parity_generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "property_tests/proof/parity_properties.h"

namespace meshparity {
namespace {

/// Cases of so many recipes.
std::vector<ParityCase> drawn(std::size_t recipes, std::uint64_t seed, std::size_t max_ranks) {
  std::vector<ParityCase> all;
  rc::Random random(seed);
  const auto generator = parity_cases(Reduction::canonical, max_ranks);
  for (std::size_t i = 0; i < recipes; ++i) {
    const auto cases = generator(random.split(), rc::kNominalSize).value();
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

TEST(ParityGenerator, ReachesEverySituation) {
  for (const std::uint64_t seed : {1U, 2U}) {
    ParityTally tally;
    for (const ParityCase& c : drawn(1000, seed, kSimulatedRanks)) tally.add(c, "sim", true);
    const auto distribution = tally.to_json().at("distribution");
    EXPECT_GE(distribution.size(), 53U);
    for (const auto& entry : distribution) {
      EXPECT_GE(entry.at("cases").get<std::size_t>(), 2U) << entry.at("what") << ", seed " << seed;
    }
  }
}

TEST(ParityGenerator, EveryStrategyMovesItsOwnAxes) {
  for (const std::size_t max_ranks : {kSimulatedRanks, kMpiRanks}) {
    std::vector<AxisSet> moved(strategies().size());
    std::vector<std::size_t> largest(strategies().size(), 1);
    for (const ParityCase& c : drawn(200, 3, max_ranks)) {
      const auto number = static_cast<std::size_t>(c.strategy);
      EXPECT_NO_THROW(require_runs(c.strategy, c.how.mesh));
      EXPECT_LE(c.how.mesh.size(), max_ranks);
      largest[number] = std::max(largest[number], c.how.mesh.size());
      for (const auto& [axis, name] : kAxes) {
        if (c.how.mesh[axis] > 1) moved[number][axis] = true;
      }
    }
    for (const StrategyEntry& entry : strategies()) {
      const auto number = static_cast<std::size_t>(entry.strategy);
      for (const auto& [axis, name] : kAxes) {
        EXPECT_EQ(moved[number][axis], entry.axes[axis]) << entry.name << ", " << name;
      }
      EXPECT_GT(largest[number], 5U) << entry.name;
    }
  }
}

TEST(ParityGenerator, EveryCaseHasSeedsOfItsOwn) {
  constexpr std::size_t kRecipes = 200;
  std::set<std::uint64_t> of_recipes;
  std::set<std::uint64_t> of_worlds;
  std::set<std::string> lines;
  for (const ParityCase& c : drawn(kRecipes, 4, kSimulatedRanks)) {
    of_recipes.insert(c.recipe.seed);
    of_worlds.insert(c.world.seed);
    lines.insert(to_line(c));
  }
  EXPECT_GE(of_recipes.size(), kRecipes - 2);
  EXPECT_GE(of_worlds.size(), kRecipes * strategies().size() - 5);
  EXPECT_GE(lines.size(), kRecipes * strategies().size() - 2);
}

TEST(ParityGenerator, TheSeedDecides) {
  const auto lines = [](std::uint64_t seed) {
    std::string text;
    for (const ParityCase& c : drawn(5, seed, kSimulatedRanks)) text += to_line(c) + "\n";
    return text;
  };
  EXPECT_EQ(lines(7), lines(7));
  EXPECT_NE(lines(7), lines(8));
}

TEST(ParityProperties, TheSeedOfASampleDecidesWhatIsTried) {
  const auto tried = [](std::uint64_t seed) {
    ParityTally simulated;
    EXPECT_TRUE(holds_simulated({3, seed}, simulated));
    EXPECT_EQ(simulated.fewest_cases("sim"), 3U) << "as many as asked for";
    return simulated.to_json().dump();
  };
  EXPECT_EQ(tried(1), tried(1));
  EXPECT_NE(tried(1), tried(2));
}

TEST(ParityProperties, NativeCasesAreTriedAndJudged) {
  ParityTally tally;
  EXPECT_TRUE(holds_natively({3, 5}, tally));
  EXPECT_EQ(tally.fewest_native_cases(), 3U);
}

}  // namespace
}  // namespace meshparity
