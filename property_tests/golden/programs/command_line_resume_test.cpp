// Stopping and going on as a user does it: flags, signals, and what is refused by name.

#include <algorithm>

#include "golden/files/checkpoint.h"
#include "golden/files/trace_file.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

ChildResult diff(const Words& paths) { return run(MESHPARITY_DIFF_PROGRAM, paths); }

class CommandLineResume : public CommandLineFixture {
 protected:
  /// Words for a run in the folder "run".
  Words in_folder(const Words& more) const {
    Words words = with_recipe({"--checkpoints", file("run")});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void expect_trained(const Words& more) const {
    const ChildResult result = train(in_folder(more));
    EXPECT_EQ(result.status, 0) << result.errors;
  }
  std::vector<StoredCheckpoint> left() const { return checkpoints_in(file("run")); }
};

TEST_F(CommandLineResume, GoesOnOnOtherMeshes) {
  ASSERT_EQ(
      train(with_recipe({"--steps", "9", "--save", file("whole"), "--trace", file("t")})).status,
      0);
  const Words steps = {"--steps", "9"};
  const auto leg = [&](Words more) {
    more.insert(more.end(), steps.begin(), steps.end());
    expect_trained(more);
  };
  leg({"--mesh", "dp=2,tp=2", "--transport", "sim", "--stop-after", "4", "--trace", file("a")});
  leg({"--mesh", "fsdp=3", "--transport", "sim", "--resume", "--stop-after", "5", "--trace",
       file("b"), "--checkpoint-layout", "sharded", "--microbatches", "2"});
  leg({"--resume", "--trace", file("c"), "--save", file("end")});
  EXPECT_EQ(diff({file("t"), file("a"), file("b"), file("c")}).output, "");
  EXPECT_EQ(diff({file("whole"), file("end")}).output, "");
  EXPECT_EQ(read_file(file("whole"), "model"), read_file(file("end"), "model"));
  const Trace last = load_trace(file("c"));
  ASSERT_TRUE(last.header.continues);
  EXPECT_EQ(last.header.continues->step, 5U);
  EXPECT_EQ(last.steps.front().step, 5U);

  // A trace that is missing, or of another run, is a seam.
  const ChildResult gap = diff({file("t"), file("a"), file("c")});
  EXPECT_EQ(gap.status, 2);
  EXPECT_TRUE(says(gap.errors, "do not join after 4 steps: the next one goes on from 5"));
  EXPECT_TRUE(says(diff({file("t"), file("c")}).output, "header, first step: 0 against 5"));
  // A finished run has nothing left to do.
  leg({"--resume", "--save", file("again")});
  EXPECT_EQ(diff({file("whole"), file("again")}).output, "");
}

TEST_F(CommandLineResume, TheRecipeNeedNotBeRepeated) {
  expect_trained({"--stop-after", "2"});
  const ChildResult result = train({"--data", file("names.txt"), "--checkpoints", file("run"),
                                    "--resume", "--quiet", "--save", file("end")});
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(diff({file("model"), file("end")}).output, "");
}

TEST_F(CommandLineResume, SavesAsAsked) {
  expect_trained({"--save-every", "1", "--keep", "2"});
  ASSERT_EQ(left().size(), 2U);
  EXPECT_EQ(left()[0].step, 3U);
  EXPECT_EQ(left()[1].step, 4U);
  // The parameters are those that --save writes, and can be loaded as such.
  const ChildResult loaded = train({"--load", left()[1].path, "--sample", "2"});
  const ChildResult saved = train({"--load", file("model"), "--sample", "2"});
  EXPECT_EQ(loaded.status, 0) << loaded.errors;
  EXPECT_EQ(loaded.output, saved.output);
  const ChildResult explained = diff({"--explain", left()[0].path});
  EXPECT_EQ(explained.status, 0);
  for (const char* line :
       {"step 3 of 4\n", "layout gathered, 1 file, ", ": the state has it\n", "hidden = 5\n"}) {
    EXPECT_TRUE(says(explained.output, line)) << explained.output;
  }
}

TEST_F(CommandLineResume, ARunFromAnotherModelSaysSo) {
  const Words loaded = {"--load", file("model"), "--steps", "4", "--trace", file("b")};
  ASSERT_EQ(train(with_recipe(loaded)).status, 0);
  const ChildResult result = diff({file("trace"), file("b")});
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(says(result.output, "header, initial parameters: drawn against loaded"));
}

TEST_F(CommandLineResume, RefusesAnotherRun) {
  expect_trained({"--stop-after", "2"});
  write_file(file("others.txt"), read_file(file("names.txt"), "corpus") + "zoe\n");
  const auto refused = [&](const Words& more, const std::string& complaint) {
    Words words = {"--resume"};
    words.insert(words.end(), more.begin(), more.end());
    expect_bad(in_folder(words), {complaint});
  };
  refused({"--steps", "5"}, "its steps is 4, here it is 5");
  refused({"--lr", "0.2"}, "its lr is 0.1, here it is 0.2");
  refused({"--seed", "1"}, "its seed is 42, here it is 1");
  refused({"--batch", "7"}, "its batch is 6, here it is 7");
  refused({"--warmup", "1"}, "its warmup is 0, here it is 1");
  refused({"--decay", "linear"}, "its decay is constant, here it is linear");
  refused({"--optimizer", "adamw"}, "its optimizer is sgd, here it is adamw");
  refused({"--batch-grain", "1"}, "its batch-grain is 2, here it is 1");
  refused({"--data", file("others.txt")}, "its data's SHA-256 is ");
  refused({"--load", file("model")}, "--resume and --load both say where parameters come from");
}

TEST_F(CommandLineResume, RefusesFoldersThatDoNotFit) {
  expect_bad(with_recipe({"--resume"}), {"--resume is about checkpoints, but no folder is named"});
  expect_bad(with_recipe({"--keep", "2"}), {"--keep is about checkpoints"});
  expect_bad(in_folder({"--save-every", "0"}), {"--save-every: '0' is too small"});
  expect_bad(in_folder({"--checkpoint-layout", "flat"}), {"unknown value 'flat'"});
  expect_bad(in_folder({"--resume"}), {"holds no complete checkpoint"});
  expect_bad(with_recipe({"--checkpoints", file("model")}), {"is not a folder"});
  expect_bad(with_recipe({"--checkpoints", file("no/run")}), {"no/run' cannot be used: No such"});
  expect_trained({"--stop-after", "2"});
  expect_bad(in_folder({}), {"already holds step 2", "--resume to go on"});
}

TEST_F(CommandLineResume, RefusesTheNewestIfItIsDamaged) {
  expect_trained({"--save-every", "1"});
  const std::string newest = left().back().path;
  std::string bytes = read_file(newest, "checkpoint");
  bytes[bytes.size() - 3] ^= 1;
  write_file(newest, bytes);
  for (const char* mesh : {"dp=1", "tp=2"}) {
    expect_bad(in_folder({"--resume", "--mesh", mesh, "--transport", "sim"}),
               {newest, "is damaged: its state has digest"});
  }
  fs::resize_file(newest, bytes.size() - 8);
  expect_bad(in_folder({"--resume"}), {newest, "is it cut off?"});
  // The one before it is as good as ever.
  fs::remove(newest);
  expect_trained({"--resume", "--save", file("end")});
  EXPECT_EQ(diff({file("model"), file("end")}).output, "");
}

/// A run that takes long enough to be stopped, and how it goes on.
class StoppedRun : public CommandLineResume {
 protected:
  Words long_run(const Words& more) const {
    Words words = in_folder({"--steps", "1000000", "--optimizer", "adamw"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// It gets the signal when it has saved something, so it surely waits for one by then. What the
  /// shell is to do just before comes as `first`.
  ChildResult stopped_by(const std::string& signal, const Words& more,
                         const std::string& first = "") const {
    const std::string script =
        "saved() { ls \"$folder\" 2>/dev/null; }; before=$(saved); "
        "(trap - TERM INT; exec \"$0\" \"$@\") & p=$!; "
        "while [ \"$(saved)\" = \"$before\" ] && kill -0 $p; do sleep 0.02; done; " +
        first + "kill -" + signal + " $p; wait $p";
    Words command = {"env",  "folder=" + file("run"), "bash", "-c",
                     script, MESHPARITY_TRAIN_PROGRAM};
    const Words words = long_run(more);
    command.insert(command.end(), words.begin(), words.end());
    return run_child(command, kDeadline);
  }
};

TEST_F(StoppedRun, SavesAtTheFirstSignal) {
  for (const char* signal : {"TERM", "INT"}) {
    const bool again = !left().empty();
    Words words = {"--trace",      file(signal), "--mesh", again ? "dp=2" : "tp=2",
                   "--save-every", "1",          "--keep", "2"};
    if (again) words.push_back("--resume");
    const ChildResult stopped = stopped_by(signal, words);
    ASSERT_EQ(stopped.status, 0) << stopped.errors;
    ASSERT_FALSE(left().empty());
    EXPECT_TRUE(says(stopped.errors, "stopped by a signal after " +
                                         std::to_string(left().back().step) + " of 1000000 steps"))
        << stopped.errors;
  }
  const std::string steps = std::to_string(left().back().step);
  const ChildResult whole = train(with_recipe({"--steps", "1000000", "--optimizer", "adamw",
                                               "--stop-after", steps, "--trace", file("whole")}));
  ASSERT_EQ(whole.status, 0) << whole.errors;
  EXPECT_EQ(diff({file("whole"), file("TERM"), file("INT")}).output, "");
}

/// It could be written when the run began.
TEST_F(StoppedRun, AResultThatCannotBeWrittenAnyMoreIsTheMachinesError) {
  fs::create_directory(file("out"));
  const ChildResult result = stopped_by("TERM", {"--save-every", "1", "--save", file("out/model")},
                                        "rm -r '" + file("out") + "'; ");
  EXPECT_EQ(result.status, 3) << result.errors;
  EXPECT_TRUE(says(result.errors, "error: cannot write '" + file("out/model") + "': No such file"))
      << result.errors;
  EXPECT_EQ(count(result.errors, "error: "), 1U) << result.errors;
  EXPECT_FALSE(left().empty()) << "what was trained is not lost";
}

TEST_F(StoppedRun, EndsAtTheSecondSignal) {
  std::string command =
      "trap - TERM INT; \"$0\" \"$@\" & p=$!; sleep 0.5; kill -TERM $p; sleep 0.3; kill -TERM $p; wait $p";
  Words words = {"bash", "-c", command, MESHPARITY_TRAIN_PROGRAM};
  // A step of this takes seconds, so both signals come before it ends.
  const Words more =
      long_run({"--batch", "4000", "--batch-grain", "100", "--hidden", "1024", "--layers", "10"});
  words.insert(words.end(), more.begin(), more.end());
  const ChildResult ended = run_child(words, kDeadline);
  EXPECT_EQ(ended.status, 128 + 15) << ended.errors;
  EXPECT_TRUE(left().empty());
}

}  // namespace
}  // namespace meshparity::command_line
