// Runs comm_mpi_program under real mpirun and judges how it ends.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "golden/child_process.h"
#include "golden/mpirun.h"

namespace meshparity {
namespace {

ChildResult run_ranks(std::size_t ranks, const std::vector<std::string>& arguments = {}) {
  std::vector<std::string> program = {program_folder() + "/comm_mpi_program"};
  program.insert(program.end(), arguments.begin(), arguments.end());
  return run_child(mpirun_command(ranks, program), std::chrono::seconds(40));
}

void expect_success(std::size_t ranks) {
  const ChildResult result = run_ranks(ranks);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 0) << result.output << result.errors;
}

TEST(CommMpi, EveryOperationAlone) { expect_success(1); }
TEST(CommMpi, EveryOperationOnTwoRanks) { expect_success(2); }
TEST(CommMpi, EveryOperationOnFourRanks) { expect_success(4); }
TEST(CommMpi, EveryOperationOnTwelveRanks) { expect_success(12); }

void expect_end(const std::string& how, int status) {
  const ChildResult result = run_ranks(3, {how});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, status) << result.output << result.errors;
}

TEST(CommMpi, AHangEndsAtItsDeadline) { expect_end("hang", 3); }
TEST(CommMpi, AnAbortEndsEveryRank) { expect_end("abort", 4); }
TEST(CommMpi, AnExceptionEndsEveryRank) { expect_end("throw", 5); }

}  // namespace
}  // namespace meshparity
