// Programs that a program starts: what they said, how they ended, and that none outlives its
// deadline.

#include "golden/jobs/child_process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "golden/files/file_io.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"

namespace meshparity {
namespace {

using namespace std::chrono_literals;

ChildResult shell(const std::string& script, std::chrono::milliseconds deadline = 20s) {
  return run_child({"sh", "-c", script}, deadline);
}

TEST(ChildProcess, WhatItSaysAndHowItEndsIsKnown) {
  const ChildResult said = shell("echo out; echo err >&2; exit 7");
  EXPECT_EQ(said.output, "out\n");
  EXPECT_EQ(said.errors, "err\n");
  EXPECT_EQ(said.status, 7);
  EXPECT_FALSE(said.timed_out);
  EXPECT_EQ(shell("kill -KILL $$").status, 128 + 9);
  EXPECT_EQ(shell("cat; exit 3").status, 3) << "there is no input";
  EXPECT_EQ(shell("head -c 300000 /dev/zero").output.size(), 300000U);
}

TEST(ChildProcess, AProgramThatIsNotThereIsTheMachinesError) {
  const TemporaryFolder folder;
  write_file(folder.file("text"), "no program");
  for (const auto& [program, why] : {std::pair(folder.file("none"), "No such file or directory"),
                                     std::pair(folder.file("text"), "Permission denied")}) {
    try {
      run_child({program, "--flag"}, 1s);
      FAIL() << program;
    } catch (const EnvironmentError& error) {
      EXPECT_EQ(error.what(), "'" + program + "' cannot be started: " + why);
    }
  }
}

TEST(ChildProcess, IsEndedAtItsDeadline) {
  const auto begin = std::chrono::steady_clock::now();
  const ChildResult slow = shell("echo begun; exec sleep 60", 100ms);
  EXPECT_TRUE(slow.timed_out);
  EXPECT_EQ(slow.status, 128 + 15);
  EXPECT_EQ(slow.output, "begun\n");
  const ChildResult finishing =
      shell("trap 'kill $!; echo bye; exit 4' TERM; sleep 60 & wait", 100ms);
  EXPECT_TRUE(finishing.timed_out);
  EXPECT_EQ(finishing.status, 4);
  EXPECT_EQ(finishing.output, "bye\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

TEST(TemporaryFolders, ThatCannotBeMadeAreTheMachinesError) {
  const TemporaryFolder folder;
  try {
    const TemporaryFolder inner(folder.file("none"));
    FAIL() << "made";
  } catch (const EnvironmentError& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("a temporary folder '" + folder.file("none")))
        << error.what();
  }
}

}  // namespace
}  // namespace meshparity
