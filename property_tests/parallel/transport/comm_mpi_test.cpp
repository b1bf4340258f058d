// Runs comm_mpi_program under real mpirun and judges how it ends.

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"
#include "golden/jobs/mpirun.h"
#include "parallel/transport/shared_memory.h"

namespace meshparity {
namespace {

ChildResult run_ranks(std::size_t ranks, const std::vector<std::string>& arguments = {}) {
  std::vector<std::string> program = {program_folder() + "/comm_mpi_program"};
  program.insert(program.end(), arguments.begin(), arguments.end());
  return run_child(mpirun_command(ranks, program), std::chrono::seconds(40));
}

constexpr const char* kCopied = "note: loans are copied";

void expect_success(std::size_t ranks) {
  const ChildResult result = run_ranks(ranks);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 0) << result.output << result.errors;
  if (SharedArena::create() != nullptr) {
    EXPECT_EQ(result.errors.find(kCopied), std::string::npos) << result.errors;
  }
}

TEST(CommMpi, EveryOperationAlone) { expect_success(1); }
TEST(CommMpi, EveryOperationOnTwoRanks) { expect_success(2); }
TEST(CommMpi, EveryOperationOnFourRanks) { expect_success(4); }
TEST(CommMpi, EveryOperationOnTwelveRanks) { expect_success(12); }

TEST(CommMpi, WithoutSharedMemoryLoansAreMessages) {
  // Files of at most 200 MB: that is too little for an arena, and enough for Open MPI.
  std::vector<std::string> limited = {"sh", "-c", "ulimit -f 400000 && exec \"$@\"", "sh"};
  for (const std::string& word : mpirun_command(3, {program_folder() + "/comm_mpi_program"})) {
    limited.push_back(word);
  }
  const ChildResult result = run_child(limited, std::chrono::seconds(40));
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, 0) << result.output << result.errors;
  EXPECT_NE(result.errors.find(kCopied), std::string::npos) << result.errors;
}

void expect_end(const std::string& how, int status) {
  const ChildResult result = run_ranks(3, {how});
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.status, status) << result.output << result.errors;
}

TEST(CommMpi, AHangEndsAtItsDeadline) {
  const ChildResult result = run_ranks(3, {"hang"});
  EXPECT_EQ(result.status, 3) << result.output << result.errors;
  EXPECT_NE(result.errors.find("waited for 0."), std::string::npos) << result.errors;
}
TEST(CommMpi, AnAbortEndsEveryRank) { expect_end("abort", 4); }
TEST(CommMpi, AnExceptionEndsEveryRank) { expect_end("throw", 5); }

}  // namespace
}  // namespace meshparity
