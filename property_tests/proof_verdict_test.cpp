// The verdict on the proof: a part that differs, was not run or judged nothing is never a success.

#include "property_tests/proof/proof_verdict.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "property_tests/proof/oracle_proof.h"
#include "property_tests/proof/parity_tally.h"
#include "property_tests/small_case.h"

namespace meshparity {
namespace {

TEST(ProofVerdict, IsUnverifiedUntilEveryPartHasHeld) {
  ProofVerdict verdict({"one", "two"});
  EXPECT_EQ(verdict.status(), kUnverified);
  verdict.report("one", true, 3);
  EXPECT_EQ(verdict.status(), kUnverified);
  EXPECT_EQ(verdict.text(), "UNVERIFIED: two: not judged\n");
  verdict.report("two", true, 1);
  EXPECT_EQ(verdict.status(), kSuccess);
  EXPECT_EQ(verdict.text(), "");
  EXPECT_EQ(ProofVerdict({}).status(), kUnverified);
}

TEST(ProofVerdict, HoldingOnNothingShowsNothing) {
  ProofVerdict verdict({"one", "two"});
  verdict.report("one", true, 3);
  verdict.report("two", true, 0);
  EXPECT_EQ(verdict.status(), kUnverified);
}

TEST(ProofVerdict, OneDifferenceIsEnough) {
  for (const std::string wrong : {"one", "two", "three"}) {
    ProofVerdict verdict({"one", "two", "three"});
    for (const std::string part : {"one", "three"}) verdict.report(part, part != wrong, 5);
    if (wrong == "two") verdict.report("two", false, 0);
    EXPECT_EQ(verdict.status(), kProofFailed);
    EXPECT_NE(verdict.text().find("DIFFERENT: " + wrong + "\n"), std::string::npos);
  }
  EXPECT_THROW(ProofVerdict({"one"}).report("two", true, 1), std::out_of_range);
}

TEST(OracleProof, OneRunOutsideItsBoundIsEnough) {
  std::vector<OracleVerdict> verdicts(3);
  for (OracleVerdict& verdict : verdicts) verdict.steps = verdict.updates = 7;
  EXPECT_TRUE(all_within_bounds(verdicts));
  EXPECT_EQ(fewest_steps(verdicts), 7U);
  verdicts[2].first_difference = "step 3, loss";
  EXPECT_FALSE(all_within_bounds(verdicts));
  verdicts[0].updates = 6;
  EXPECT_EQ(fewest_steps(verdicts), 6U);
  verdicts[1].steps = 0;
  EXPECT_EQ(fewest_steps(verdicts), 0U);
  EXPECT_EQ(fewest_steps({}), 0U);
}

TEST(ParityTally, CountsEachCaseOnceForItsStrategyAndProduct) {
  ParityCase c = small_case();
  ParityTally tally;
  c.strategy = Strategy::mesh;
  c.how.mesh = parse_mesh("dp=2,tp=2");
  tally.add(c, "sim", true);
  tally.add(c, "sim", false);
  tally.add(c, "mpi", true);
  EXPECT_EQ(tally.cases("sim"), 2U);
  EXPECT_EQ(tally.cases("mpi"), 1U);
  const auto json = tally.to_json();
  for (const char* rows : {"strategies", "products"}) {
    for (const auto& row : json.at(rows)) {
      const bool simulated = row.at("transport") == "sim";
      EXPECT_EQ(row.at("cases"), simulated ? 2 : 1);
      EXPECT_EQ(row.at("bit_equal"), 1);
      EXPECT_EQ(row.at("meshes"), 1);
      EXPECT_EQ(row.at("ranks_max"), 4);
    }
  }
  EXPECT_EQ(json.at("products")[0].at("axes"), "dp x tp");
}

TEST(ParityTally, TheStrategyWithTheFewestCasesIsWhatCounts) {
  ParityCase c = small_case();
  ParityTally tally;
  for (const StrategyEntry& entry : strategies()) {
    EXPECT_EQ(tally.fewest_cases("sim"), 0U);
    EXPECT_EQ(tally.fewest_native_cases(), 0U);
    c.strategy = entry.strategy;
    tally.add(c, "sim", true);
    tally.add_native(c, entry.strategy == Strategy::dp ? 0 : 0.5);
  }
  EXPECT_EQ(tally.fewest_cases("sim"), 1U);
  EXPECT_EQ(tally.fewest_cases("mpi"), 0U);
  // A strategy whose every native error is 0 was not judged.
  EXPECT_EQ(tally.fewest_native_cases(), 0U);
  c.strategy = Strategy::dp;
  tally.add_native(c, 0.25);
  EXPECT_EQ(tally.fewest_native_cases(), 1U);
}

}  // namespace
}  // namespace meshparity
