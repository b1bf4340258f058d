// Standard streams that are closed or full, and signals: what users and batch systems do to
// programs.
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CommandLineStreams : public CommandLineFixture {
 protected:
  /// meshparity-train with what a shell makes of `redirections`.
  ChildResult shell(const std::string& redirections, const Words& arguments,
                    const std::string& program = MESHPARITY_TRAIN_PROGRAM) const {
    Words words = {"-c", "exec \"$@\" " + redirections, "sh", program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return run("sh", words);
  }

  Words training(const Words& more = {}) const {
    Words words = {"--recipe", file("ok.recipe"), "--trace", file("t"), "--save", file("m")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

TEST_F(CommandLineStreams, ProgressNeverEndsARunAndIsNoPartOfATrace) {
  for (const char* redirections : {"2>&-", "2>/dev/full", "<&- >&- 2>&-", "2>&1 | true"}) {
    for (const char* name : {"t", "m"}) fs::remove(file(name));
    const ChildResult result = shell(redirections, training());
    EXPECT_EQ(result.status, 0) << redirections << result.errors;
    EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f")) << redirections;
    EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f")) << redirections;
  }
}

TEST_F(CommandLineStreams, WhatCannotBePrintedIsAnError) {
  for (const char* redirections : {">&-", ">/dev/full"}) {
    for (const Words& arguments :
         {training({"--quiet", "--sample", "3"}), training({"--validate", "1"}), Words{"--help"},
          Words{"--version"}}) {
      const ChildResult result = shell(redirections, arguments);
      EXPECT_EQ(result.status, 3) << redirections << arguments.back();
      EXPECT_TRUE(says(result.errors, "error: ")) << redirections << arguments.back();
    }
    const ChildResult found =
        shell(redirections, {file("trace"), file("missing")}, MESHPARITY_DIFF_PROGRAM);
    EXPECT_EQ(found.status, 2) << found.errors;
  }
}

TEST_F(CommandLineStreams, SignalsLeaveNoFiles) {
  const auto before = contents();
  for (const char* signal : {"TERM", "INT", "HUP"}) {
    const std::string script = "set -m; \"$@\" & child=$!; sleep 0.3; kill -" +
                               std::string(signal) + " $child; wait $child";
    const ChildResult result =
        run("bash", {"-c", script, "bash", MESHPARITY_TRAIN_PROGRAM, "--recipe", file("ok.recipe"),
                     "--quiet", "--steps", "1000000000", "--trace", file("t")});
    EXPECT_GT(result.status, 128) << signal << result.errors;
    EXPECT_TRUE(contents() == before) << signal;
  }
}

}  // namespace
}  // namespace meshparity::command_line
