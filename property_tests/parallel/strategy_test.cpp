#include "parallel/strategy.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "model/error.h"

namespace meshparity {
namespace {

TEST(Strategy, TheTableIsInTheOrderOfItsNames) {
  std::set<Trainer> trainers;
  for (const StrategyEntry& entry : strategies()) {
    EXPECT_EQ(&entry_of(entry.strategy), &entry);
    EXPECT_EQ(strategy_named(entry.name), entry.strategy);
    EXPECT_TRUE(trainers.insert(entry.train).second) << entry.name;
  }
  EXPECT_THROW(strategy_named("train_ep"), UsageError);
  EXPECT_THROW(strategy_named(""), UsageError);
}

TEST(Strategy, AMeshOfOneAxisHasItsOwnTrainerAndAProductTheCommonOne) {
  EXPECT_EQ(strategy_for(parse_mesh("dp=3")), Strategy::dp);
  EXPECT_EQ(strategy_for(parse_mesh("fsdp=3")), Strategy::fsdp);
  EXPECT_EQ(strategy_for(parse_mesh("tp=3")), Strategy::tp);
  EXPECT_EQ(strategy_for(parse_mesh("pp=3")), Strategy::pp);
  for (const char* mesh : {"", "dp=2,tp=2", "fsdp=2,pp=3", "dp=2,fsdp=2,tp=2,pp=2"}) {
    EXPECT_EQ(strategy_for(parse_mesh(mesh)), Strategy::mesh) << mesh;
  }
}

TEST(Strategy, AMeshBeyondItsAxesIsRefused) {
  for (const StrategyEntry& entry : strategies()) {
    EXPECT_NO_THROW(require_runs(entry.strategy, parse_mesh("")));
    for (const auto& [axis, name] : kAxes) {
      const Mesh mesh = parse_mesh(std::string(name) + "=2");
      if (entry.axes[axis]) {
        EXPECT_NO_THROW(require_runs(entry.strategy, mesh));
      } else {
        EXPECT_THROW(require_runs(entry.strategy, mesh), UsageError) << entry.name << " " << name;
      }
    }
  }
}

}  // namespace
}  // namespace meshparity
