// meshparity-verify as a user runs it: its exit status says proven, different or unverified, and
// nothing that was not run is proven. Jobs of mpirun are scripts here, which end as a test wants.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"
#include "golden/jobs/exit_status.h"
#include "property_tests/fake_mpirun.h"
#include "property_tests/proof/parity_case.h"
#include "property_tests/small_case.h"

namespace meshparity {
namespace {

/// A golden folder with one small recipe, and the fewest cases that verify every part.
class VerifyProgram : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_.path() / "recipes");
    write_file(folder_.file("names.txt"), "emma\nolivia\nava\n");
    write_file(folder_.file("recipes/small.recipe"),
               "data = ../names.txt\ncontext = 2\nembedding = 2\nhidden = 3\nbatch = 4\nsteps = 2\n"
               "batch-grain = 2\nfeature-grain = 2\nvocab-grain = 4\n");
  }

  /// How many cases of each part; those that are left out are the fewest that verify it.
  struct Cases {
    std::size_t simulated = 5;
    std::size_t native = 5;
    std::size_t mpi = 9;
    std::size_t resumed = 100;  // so that every flaw of a state is tried
  };
  ChildResult verify(const Cases& cases) const {
    return run({"--golden-dir=" + folder_.path().string(), "--reports=" + folder_.path().string(),
                "--cases=" + std::to_string(cases.simulated),
                "--native-cases=" + std::to_string(cases.native),
                "--mpi-cases=" + std::to_string(cases.mpi),
                "--resume-cases=" + std::to_string(cases.resumed)});
  }
  static ChildResult run(std::vector<std::string> command) {
    command.insert(command.begin(), program_folder() + "/meshparity-verify");
    return run_child(command, std::chrono::seconds(60));
  }

  nlohmann::json parity() const {
    return nlohmann::json::parse(read_file(folder_.file("parity.json"), "results"));
  }

  static void expect(const ChildResult& result, int status, const std::string& text = "") {
    EXPECT_EQ(result.status, status) << result.output << result.errors;
    EXPECT_NE(result.output.find(text), std::string::npos) << result.output;
  }

  const TemporaryFolder folder_;
};

constexpr const char* kAllEqual = "for i in $(seq 0 20); do echo \"case $i equal\"; done";

TEST_F(VerifyProgram, EveryPartThatHoldsIsProven) {
  const FakeMpirun fake(kAllEqual);
  const ChildResult result = verify({});
  expect(result, kSuccess);
  EXPECT_EQ(result.output.find("UNVERIFIED"), std::string::npos) << result.output;
  std::size_t simulated = 0;
  std::size_t mpi = 0;
  const nlohmann::json json = parity();
  for (const auto& row : json.at("strategies")) {
    (row.at("transport") == "sim" ? simulated : mpi) += row.at("cases").get<std::size_t>();
    EXPECT_EQ(row.at("cases"), row.at("bit_equal"));
  }
  EXPECT_EQ(simulated, 5U);
  EXPECT_EQ(mpi, 9U);
}

TEST_F(VerifyProgram, WhatWasNotRunIsUnverified) {
  const FakeMpirun fake(kAllEqual);
  const std::string open_mpi = "UNVERIFIED: every strategy under Open MPI: not judged\n";
  expect(verify({.mpi = 0}), kUnverified, open_mpi);
  // Of five strategies some had no case.
  expect(verify({.mpi = 3}), kUnverified, open_mpi);
  expect(verify({.native = 0}), kUnverified, "UNVERIFIED: native reductions");
  expect(verify({.simulated = 0}), kUnverified, "UNVERIFIED: every strategy on simulated meshes");
  expect(verify({.resumed = 0}), kUnverified, "UNVERIFIED: runs that stop and go on");
}

TEST_F(VerifyProgram, ADifferenceUnderMpirunIsNotProven) {
  const std::string different = "DIFFERENT: every strategy under Open MPI\n";
  {
    const FakeMpirun fake(std::string(kAllEqual) + "; echo case 0 step 1, loss");
    const ChildResult result = verify({});
    expect(result, kProofFailed, different);
    EXPECT_NE(result.errors.find("first difference: step 1, loss"), std::string::npos);
    EXPECT_NE(result.errors.find("rerun: build/bin/meshparity-verify"), std::string::npos);
  }
  // All verdicts are in, but the job fails; and a difference is more than what is unverified.
  const FakeMpirun fake(std::string(kAllEqual) + "; exit 1");
  expect(verify({.native = 0}), kProofFailed, different);
}

TEST_F(VerifyProgram, OneCaseIsRerun) {
  const std::vector<std::string> rerun = {"--transport=mpi", "--case", to_line(small_case())};
  {
    const FakeMpirun fake("echo case 0 equal");
    expect(run(rerun), kSuccess, "bits equal");
  }
  {
    const FakeMpirun fake("echo case 0 step 1, loss");
    expect(run(rerun), kProofFailed, "first difference: step 1, loss");
  }
  expect(run({"--case", to_line(small_case())}), kSuccess, "bits equal");
  expect(run({"--case", "{}"}), kBadUsage);
  expect(run({"--nonsense"}), kBadUsage);
}

}  // namespace
}  // namespace meshparity
