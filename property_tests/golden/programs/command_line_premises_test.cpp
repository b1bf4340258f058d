// meshparity-train where something else than its arguments is not as it should be: arithmetic that
// a library has changed, ranks that would do different work, ranks that are slow.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "model/numerics/isa.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CommandLinePremises : public CommandLineFixture {};

TEST_F(CommandLinePremises, AnUnknownInstructionSetIsRefused) {
  const ChildResult result =
      run("env", {"MESHPARITY_ISA=mmx", MESHPARITY_TRAIN_PROGRAM, "--recipe", file("ok.recipe")});
  expect_refused(result, {"MESHPARITY_ISA=mmx", "scalar"}, "mmx");
}

#ifdef MESHPARITY_BENT_LIBRARY
ChildResult preloaded(const std::string& when, const Words& arguments) {
  Words words = {"LD_PRELOAD=" MESHPARITY_BENT_LIBRARY, "BENT_LIBRARY=" + when};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return run("env", words);
}

TEST_F(CommandLinePremises, ALibraryThatRoundsOtherwiseChangesNoBit) {
  Words train_here = with_recipe({"--trace", file("t"), "--save", file("m")});
  train_here.insert(train_here.begin(), MESHPARITY_TRAIN_PROGRAM);
  const ChildResult result = preloaded("loaded", train_here);
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(read_file(file("t"), "f"), read_file(file("trace"), "f"));
  EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f"));
  const ChildResult diff = preloaded("loaded", {MESHPARITY_DIFF_PROGRAM, file("t"), file("trace")});
  EXPECT_EQ(diff.status, 0) << diff.output << diff.errors;
}

TEST_F(CommandLinePremises, ALibraryThatRoundsOtherwiseLaterLeavesNoResult) {
  for (const char* mesh : {"dp=1", "dp=2"}) {
    const ChildResult result =
        preloaded("later", {MESHPARITY_TRAIN_PROGRAM, "--recipe", file("ok.recipe"), "--mesh", mesh,
                            "--trace", file("t"), "--save", file("m")});
    EXPECT_EQ(result.status, 3) << result.errors;
    EXPECT_TRUE(says(result.errors, "rounding is not to nearest")) << result.errors;
    EXPECT_FALSE(fs::exists(file("t")));
    EXPECT_FALSE(fs::exists(file("m")));
  }
}
#endif

#ifdef MESHPARITY_WITH_MPI

/// Two ranks with command lines of their own. (mpirun's own way, with a colon, crashes mpirun of
/// Open MPI 5.0.7.)
Words two_ranks(const Words& first, const Words& second) {
  const std::string size = std::to_string(first.size());
  Words chosen = {"bash", "-c",
                  "if [ $OMPI_COMM_WORLD_RANK = 0 ]; then exec \"${@:1:" + size +
                      "}\"; else shift " + size + "; exec \"$@\"; fi",
                  "bash"};
  chosen.insert(chosen.end(), first.begin(), first.end());
  chosen.insert(chosen.end(), second.begin(), second.end());
  return mpirun_command(2, chosen);
}

class DifferentRanks : public CommandLineFixture {
 protected:
  Words training(const Words& more) const {
    Words words = with_recipe({"--mesh", "dp=2"});
    words.insert(words.begin(), MESHPARITY_TRAIN_PROGRAM);
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  /// A job whose ranks are started so ends soon, with status 2 and one error that says all this.
  void expect_different(const Words& first, const Words& second, const Words& complaints) {
    const auto before = contents();
    const auto begin = std::chrono::steady_clock::now();
    ChildResult result = run_child(two_ranks(first, second), kDeadline);
    // Open MPI may have complained before, of networks that it does not find.
    const std::size_t ours = ("\n" + result.errors).find("\nerror: ");
    if (ours != std::string::npos) result.errors.erase(0, ours);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
    expect_refused(result, complaints, second.back());
    EXPECT_EQ(count(result.errors, "error: "), 1U) << result.errors;
    EXPECT_TRUE(contents() == before) << second.back() << ": a file was touched";
  }
};

TEST_F(DifferentRanks, ThatAreToldOtherThingsAreRefusedByName) {
  const Words all = training({"--trace", file("t")});
  const std::vector<std::pair<Words, Words>> others = {
      {{"--lr", "0.2"}, {"lr is '0.1' on rank 0 and '0.2' on rank 1"}},
      {{"--microbatches", "2"}, {"--microbatches is '1' on rank 0 and '2' on rank 1"}},
      {{"--schedule", "gpipe"}, {"--schedule is '1f1b' on rank 0 and 'gpipe' on rank 1"}},
      {{"--stop-after", "2"}, {"--stop-after is 'none' on rank 0 and '2' on rank 1"}},
      {{"--save", file("m")}, {"--save is 'no' on rank 0 and 'yes' on rank 1"}},
      {{"--load", file("model"), "--steps", "4"}, {"--load is 'nothing' on rank 0"}},
      {{"--steps", "2", "--seed", "7", "--lr", "1", "--batch", "8"}, {"and 1 more difference"}}};
  for (const auto& [more, complaints] : others) {
    Words second = all;
    second.insert(second.end(), more.begin(), more.end());
    expect_different(all, second, complaints);
  }
}

TEST_F(DifferentRanks, ThatReadOtherFilesAreRefusedByName) {
  // Each reads the same name in a folder of its own, as on two machines.
  const std::string names = read_file(file("names.txt"), "f");
  std::string upside_down;
  for (std::size_t end = names.size(); end > 0;) {
    const std::size_t begin = names.rfind('\n', end - 2) + 1;
    upside_down += names.substr(begin, end - begin);
    end = begin;
  }
  ASSERT_EQ(upside_down.size(), names.size());
  fs::create_directory(file("a"));
  fs::create_directory(file("b"));
  write_file(file("a/names.txt"), names);
  write_file(file("b/names.txt"), upside_down);
  for (const auto& [folder, steps] : {std::pair("a", "3"), std::pair("b", "4")}) {
    const ChildResult made =
        train(with_recipe({"--steps", steps, "--save", file(std::string(folder) + "/model")}));
    ASSERT_EQ(made.status, 0) << made.errors;
  }
  const auto in = [&](const std::string& folder, const Words& words) {
    Words command = {"env", "-C", file(folder)};
    command.insert(command.end(), words.begin(), words.end());
    return command;
  };
  const Words with_corpus = training({"--data", "names.txt"});
  expect_different(in("a", with_corpus), in("b", with_corpus), {"corpus is '", "' on rank 1"});
  const Words with_model = training({"--load", "model", "--steps", "2"});
  expect_different(in("a", with_model), in("b", with_model), {"--load is '", "' on rank 1"});
}

TEST_F(DifferentRanks, ThatAreOtherProgramsAreRefusedByName) {
  const std::string copy = file("meshparity-train");
  fs::copy_file(MESHPARITY_TRAIN_PROGRAM, copy);
  write_file(copy, read_file(copy, "f") + "!");
  fs::permissions(copy, fs::perms::owner_all);
  Words second = training({});
  second[0] = copy;
  expect_different(training({}), second, {"program is '", "' on rank 0", "' on rank 1"});
}

TEST_F(DifferentRanks, ThatUseOtherInstructionSetsAreToldHowToShareOne) {
  if (available_isas().size() < 2) GTEST_SKIP() << "this processor has one instruction set";
  Words second = training({});
  second.insert(second.begin(), {"env", "MESHPARITY_ISA=scalar"});
  expect_different(training({}), second,
                   {"instruction set is '" + std::string(name_of(available_isas().back())) +
                        "' on rank 0 and 'scalar' on rank 1",
                    "MESHPARITY_ISA=" + std::string(name_of(available_isas().back()))});
}

TEST_F(DifferentRanks, AnErrorOnOneRankIsToldByName) {
  expect_different(training({}), training({"--lr", "x"}), {"on rank 1", "--lr: 'x'"});
  expect_different(training({}), training({"--data", file("missing")}), {"on rank 1", "missing"});
  expect_different(training({"--lr", "x"}), training({}), {"on rank 0", "--lr: 'x'"});
  Words second = training({});
  second.insert(second.begin(), {"env", "MESHPARITY_ISA=mmx"});
  expect_different(training({}), second, {"on rank 1", "MESHPARITY_ISA=mmx"});
}

TEST_F(DifferentRanks, HelpOnOneRankEndsTheJob) {
  const ChildResult result = run_child(two_ranks(training({}), training({"--help"})), kDeadline);
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(count(result.output, "Exit status:"), 1U);
}

#ifdef MESHPARITY_BENT_LIBRARY
TEST_F(DifferentRanks, ARankThatRoundsOtherwiseLeavesNoResult) {
  const Words words = training({"--trace", file("t"), "--save", file("m")});
  Words bent = {"env", "LD_PRELOAD=" MESHPARITY_BENT_LIBRARY, "BENT_LIBRARY=later"};
  bent.insert(bent.end(), words.begin(), words.end());
  const ChildResult result = run_child(two_ranks(words, bent), kDeadline);
  EXPECT_EQ(result.status, 3) << result.errors;
  EXPECT_TRUE(says(result.errors, "error: on rank 1: ")) << result.errors;
  EXPECT_TRUE(says(result.errors, "rounding is not to nearest")) << result.errors;
  EXPECT_FALSE(fs::exists(file("t")));
  EXPECT_FALSE(fs::exists(file("m")));
}
#endif

/// Rank 1 gets its corpus only after three seconds, from a pipe: a slow disk. The deadline is one
/// second. `prefix` comes before mpirun.
class SlowRank : public DifferentRanks {
 protected:
  ChildResult run_slowly(const Words& prefix) {
    Words slow = {"sh", "-c",
                  "mkfifo \"$0\"; (sleep 3; cat \"$1\" >\"$0\") & shift; exec \"$@\" --data \"$0\"",
                  file("pipe"), file("names.txt")};
    const Words words = training({"--deadline", "1", "--save", file("m")});
    slow.insert(slow.end(), words.begin(), words.end());
    Words command = prefix;
    for (const std::string& word : two_ranks(words, slow)) command.push_back(word);
    return run_child(command, kDeadline);
  }
};

TEST_F(SlowRank, IsWaitedForOnTheSameMachine) {
  const ChildResult result = run_slowly({});
  EXPECT_EQ(result.status, 0) << result.errors;
  EXPECT_EQ(read_file(file("m"), "f"), read_file(file("model"), "f"));
}

TEST_F(SlowRank, EndsTheJobAtTheDeadlineWhereNobodySeesIt) {
  // Files of at most 200 MB: too little for the memory that ranks of one machine show each other.
  const auto begin = std::chrono::steady_clock::now();
  const ChildResult result = run_slowly({"sh", "-c", "ulimit -f 400000 && exec \"$@\"", "sh"});
  EXPECT_EQ(result.status, 3) << result.errors;
  EXPECT_TRUE(says(result.errors, "error: waited for 1.")) << result.errors;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_FALSE(fs::exists(file("m")));
}

#endif

}  // namespace
}  // namespace meshparity::command_line
