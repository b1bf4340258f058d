// A run of no tests is no success, and no variable of the environment makes one.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"

namespace meshparity {
namespace {

/// This program again, with variables set as in `env NAME=VALUE`.
ChildResult run(const std::vector<std::string>& variables, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {"env"};
  command.insert(command.end(), variables.begin(), variables.end());
  command.push_back(program_folder() + "/main_test");
  command.insert(command.end(), flags.begin(), flags.end());
  return run_child(command, std::chrono::seconds(20));
}

const std::string kOne = "--gtest_filter=Main.Nothing";

TEST(Main, Nothing) { std::cout << std::getenv("RC_PARAMS") << "\n"; }

TEST(Main, ARunOfNoTestsFails) {
  EXPECT_EQ(run({}, {kOne}).status, 0);
  EXPECT_EQ(run({}, {"--gtest_filter=No.Such"}).status, 1);
  EXPECT_EQ(run({"GTEST_FILTER=No.Such"}, {}).status, 1);
  EXPECT_EQ(run({"GTEST_REPEAT=0"}, {kOne}).status, 1);
  // A test is in one of the shards; the other is empty.
  EXPECT_EQ(run({"GTEST_TOTAL_SHARDS=2", "GTEST_SHARD_INDEX=0"}, {kOne}).status, 0);
  const ChildResult other = run({"GTEST_TOTAL_SHARDS=2", "GTEST_SHARD_INDEX=1"}, {kOne});
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.errors.find("no test was run"), std::string::npos);
  EXPECT_EQ(run({}, {"--gtest_list_tests"}).status, 0);
}

TEST(Main, RandomCasesAreDrawnAndTheSameWithoutASeed) {
  EXPECT_EQ(run({"RC_PARAMS=max_success=0"}, {kOne}).status, 2);
  for (const std::string given : {"RC_PARAMS=", "RC_PARAMS=seed=7"}) {
    const ChildResult result = run({given}, {kOne});
    EXPECT_EQ(result.status, 0);
    EXPECT_NE(result.output.find(given.ends_with("7") ? "\nseed=7\n" : "\nseed=20260101\n"),
              std::string::npos)
        << result.output;
  }
}

}  // namespace
}  // namespace meshparity
