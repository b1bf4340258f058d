// Runs that die while they save: what was complete before stays, what is incomplete is never taken
// for a checkpoint, and whoever goes on has the bits of a run that was left alone.

#include <algorithm>
#include <chrono>
#include <random>
#include <set>

#include "golden/files/checkpoint.h"
#include "golden/files/trace_file.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class CheckpointFaults : public CommandLineFixture {
 protected:
  static constexpr std::size_t kSteps = 1000000;

  Words run_words(const Words& more) const {
    Words words = with_recipe({"--steps", std::to_string(kSteps), "--optimizer", "adamw",
                               "--checkpoints", file("run"), "--save-every", "1", "--keep", "3"});
    words.insert(words.end(), more.begin(), more.end());
    if (!checkpoints_in(file("run")).empty()) words.push_back("--resume");
    return words;
  }

  /// The digests of one rank that nobody disturbs.
  void learn(std::size_t steps) {
    const ChildResult whole =
        train(with_recipe({"--steps", std::to_string(kSteps), "--optimizer", "adamw",
                           "--stop-after", std::to_string(steps), "--trace", file("whole")}));
    ASSERT_EQ(whole.status, 0) << whole.errors;
    const Trace trace = load_trace(file("whole"));
    for (const TraceStep& step : trace.steps) digests_.push_back(step.digest);
  }

  /// Every checkpoint there is holds what one rank had at its step. Returns the newest step.
  std::size_t expect_whole(const std::string& what) const {
    std::size_t newest = 0;
    for (const StoredCheckpoint& found : checkpoints_in(file("run"))) {
      const Checkpoint checkpoint(found.path);
      newest = found.step;
      EXPECT_EQ(checkpoint.header().step, found.step) << what;
      EXPECT_EQ(checkpoint.digest(), checkpoint.header().digest) << what;
      if (found.step < digests_.size()) {
        EXPECT_EQ(checkpoint.header().digest, digests_[found.step]) << what;
      }
    }
    return newest;
  }

  std::size_t half_written() const {
    std::size_t found = 0;
    if (!fs::exists(file("run"))) return 0;
    for (const auto& entry : fs::directory_iterator(file("run"))) {
      found += is_partial_name(entry.path().filename().string()) ? 1 : 0;
    }
    return found;
  }

  std::vector<std::uint64_t> digests_;
};

TEST_F(CheckpointFaults, KilledTwoHundredTimes) {
  learn(60000);
  // Libraries that a program is linked with may take a tenth of a second before its main.
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(train({"--version"}).status, 0);
  const std::chrono::duration<double> start = std::chrono::steady_clock::now() - begin;
  std::minstd_rand random(1);
  const Words meshes = {"dp=1", "tp=2", "fsdp=3", "dp=2,pp=2"};
  std::size_t newest = 0;
  std::size_t torn = 0;
  std::size_t progress = 0;
  for (std::size_t kill = 0; kill < 200; ++kill) {
    const double after = 0.001 * static_cast<double>(10 + random() % 70);
    const std::string seconds = std::to_string(start.count() + after);
    Words command = {"timeout", "-s", "KILL", seconds, MESHPARITY_TRAIN_PROGRAM};
    const Words words =
        run_words({"--mesh", meshes[random() % meshes.size()], "--transport", "sim",
                   "--checkpoint-layout", random() % 2 == 0 ? "gathered" : "sharded"});
    command.insert(command.end(), words.begin(), words.end());
    const ChildResult killed = run_child(command, kDeadline);
    ASSERT_TRUE(killed.status == 137) << killed.status << killed.errors;
    torn += half_written() > 0 ? 1 : 0;
    const std::size_t now = expect_whole("kill " + std::to_string(kill));
    ASSERT_GE(now, newest) << "what was complete is gone";
    progress += now > newest ? 1 : 0;
    newest = now;
  }
  std::cout << torn << " of 200 kills left something half written, " << progress
            << " runs got further, to step " << newest << "\n";
  EXPECT_GT(torn, 0U);
  EXPECT_GT(progress, 0U);
  EXPECT_LT(newest, digests_.size());
}

TEST_F(CheckpointFaults, FiftyFullDisks) {
  learn(200);
  const auto run_limited = [&](std::size_t kibibytes, const std::string& layout, std::size_t stop) {
    // What a process may write to a file ends where a disk would: EFBIG instead of ENOSPC.
    // (GCOV_PREFIX: the counters of a coverage build, which would be cut off, go nowhere.)
    const std::string limit = "export GCOV_PREFIX=/dev/null; trap '' XFSZ; ulimit -f " +
                              std::to_string(kibibytes) + "; exec \"$0\" \"$@\"";
    Words command = {"bash", "-c", limit, MESHPARITY_TRAIN_PROGRAM};
    const Words words = run_words({"--mesh", "fsdp=2", "--transport", "sim", "--stop-after",
                                   std::to_string(stop), "--checkpoint-layout", layout});
    command.insert(command.end(), words.begin(), words.end());
    return run_child(command, kDeadline);
  };
  std::size_t full = 0;
  for (std::size_t disk = 0; disk < 50; ++disk) {
    const std::string layout = disk % 2 == 0 ? "gathered" : "sharded";
    const std::size_t before = expect_whole("before");
    const ChildResult result = run_limited(disk % 4, layout, before + 2);
    if (result.status == 0) {
      EXPECT_EQ(expect_whole("after"), before + 2);
      continue;
    }
    ++full;
    EXPECT_EQ(result.status, 3) << result.errors;
    EXPECT_TRUE(says(result.errors, "failed: File too large")) << result.errors;
    EXPECT_EQ(count(result.errors, "error:"), 1U) << result.errors;
    EXPECT_EQ(expect_whole("full"), before);
    EXPECT_EQ(half_written(), 0U);
    // With room again it goes on.
    EXPECT_EQ(run_limited(1000, layout, before + 2).status, 0);
    EXPECT_EQ(expect_whole("after"), before + 2);
    EXPECT_EQ(half_written(), 0U);
  }
  std::cout << full << " of 50 disks were full\n";
  EXPECT_GE(full, 25U);
}

#ifdef MESHPARITY_WITH_MPI
TEST_F(CheckpointFaults, OneRankOfSeveralIsKilled) {
  learn(20000);
  const std::string kill_one =
      "if [ \"$OMPI_COMM_WORLD_RANK\" = \"$1\" ]; then exec timeout -s KILL \"$2\" \"$0\" \"${@:3}\"; "
      "else exec \"$0\" \"${@:3}\"; fi";
  std::size_t newest = 0;
  for (const char* victim : {"0", "1", "2"}) {
    Words program = {"bash", "-c", kill_one, MESHPARITY_TRAIN_PROGRAM, victim, "1.5"};
    const Words words = run_words(
        {"--mesh", "fsdp=3", "--checkpoint-layout", *victim == '1' ? "gathered" : "sharded"});
    program.insert(program.end(), words.begin(), words.end());
    const ChildResult killed = run_child(mpirun_command(3, program), kDeadline);
    EXPECT_NE(killed.status, 0);
    EXPECT_FALSE(killed.timed_out);
    const std::size_t now = expect_whole(std::string("rank ") + victim);
    EXPECT_GE(now, newest);
    newest = now;
  }
  EXPECT_GT(newest, 0U);
}
#endif

}  // namespace
}  // namespace meshparity::command_line
