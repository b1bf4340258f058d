// The recorded traces, and that checking them can fail.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "golden/check/facts.h"
#include "golden/check/golden_check.h"
#include "golden/files/file_io.h"
#include "golden/jobs/child_process.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"
#include "property_tests/fake_mpirun.h"
#include "property_tests/says.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

ChildResult golden(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {MESHPARITY_GOLDEN_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_child(command, std::chrono::seconds(60));
}

/// A golden folder of its own with one small recipe.
class Golden : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_.path() / "recipes");
    write_file(folder_.file("names.txt"), "emma\nolivia\nava\nisabella\n");
    write_recipe("0.1");
  }

  void write_recipe(const std::string& lr) {
    write_file(folder_.file("recipes/small.recipe"),
               "data = ../names.txt\ncontext = 3\nembedding = 4\nhidden = 5\nbatch = 6\n"
               "steps = 250\nbatch-grain = 2\nfeature-grain = 2\nvocab-grain = 4\nlr = " +
                   lr + "\n");
  }

  ChildResult run(std::vector<std::string> arguments) const {
    arguments.push_back("--golden-dir=" + folder_.path().string());
    return golden(arguments);
  }

  std::string trace_path() const { return folder_.file("traces/small.trace"); }
  const TemporaryFolder& folder() const { return folder_; }

 private:
  TemporaryFolder folder_;
};

TEST_F(Golden, RecordingSaysWhatMoved) {
  ChildResult result = run({"record", "--reason", "a new recipe"});
  ASSERT_EQ(result.status, 0) << result.errors;
  EXPECT_TRUE(says(result.output, "small.trace: new")) << result.output;
  const std::string first = read_file(trace_path(), "trace");
  const Trace trace = load_trace(trace_path());
  EXPECT_EQ(trace.header.reason, "a new recipe");
  EXPECT_EQ(trace.header.date.size(), 10U);
  EXPECT_FALSE(trace.header.compiler.empty());
  EXPECT_EQ(trace.header.every, 2U);
  EXPECT_EQ(trace.steps.back().step, 249U);

  result = run({"record", "--reason", "nothing"});
  EXPECT_TRUE(says(result.output, "small.trace: unchanged")) << result.output;
  EXPECT_EQ(read_file(trace_path(), "trace"), first) << "date and reason stay";

  Trace moved = trace;
  moved.steps[3].digest += 1;
  write_file(trace_path(), text_of(moved));
  result = run({"record", "--reason", "bits moved"});
  EXPECT_TRUE(says(result.output, "small.trace: moved: step 6, digest")) << result.output;
  EXPECT_EQ(load_trace(trace_path()).header.reason, "bits moved");

  write_recipe("0.2");
  result = run({"record", "--reason", "faster"});
  EXPECT_TRUE(says(result.output, "moved: header, recipe.lr: 0.1 against 0.2")) << result.output;
}

TEST_F(Golden, RecordingNeedsAReason) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"record"}, {"record", "--reason", ""}, {"record", "--reason", " \t"}}) {
    const ChildResult result = run(arguments);
    EXPECT_EQ(result.status, 2) << result.output;
    EXPECT_TRUE(says(result.errors, "--reason")) << result.errors;
    EXPECT_FALSE(fs::exists(trace_path()));
  }
}

TEST_F(Golden, BadUsageIsRefused) {
  EXPECT_EQ(run({"check"}).status, 2) << "no golden yet";
  EXPECT_EQ(run({}).status, 2);
  EXPECT_EQ(run({"check", "--recipe", "nosuch"}).status, 2);
  EXPECT_EQ(run({"check", "--transport", "smoke"}).status, 2);
  EXPECT_EQ(golden({"check", "--golden-dir", folder().file("nowhere")}).status, 2);
  fs::create_directories(folder().file("empty/recipes"));
  const ChildResult empty = golden({"check", "--golden-dir", folder().file("empty")});
  EXPECT_EQ(empty.status, 2);
  EXPECT_TRUE(says(empty.errors, folder().file("empty/recipes") + "' holds no recipe"))
      << empty.errors;
  ASSERT_EQ(run({"record", "--reason", "r"}).status, 0);
  EXPECT_EQ(run({"check", "--json", folder().file("no/out.json")}).status, 2);
  write_file(trace_path(), "emma\n");
  const ChildResult result = run({"check"});
  EXPECT_EQ(result.status, 2);
  EXPECT_TRUE(says(result.errors, "small.trace:1")) << result.errors;
  const ChildResult recorded = run({"record", "--reason", "whole again"});
  EXPECT_EQ(recorded.status, 0) << recorded.errors;
  EXPECT_TRUE(says(recorded.output, "replaced, the file was damaged: " + trace_path() + ":1"))
      << recorded.output;
  EXPECT_EQ(load_trace(trace_path()).header.reason, "whole again");
}

TEST_F(Golden, CheckingFindsAChangedBit) {
  ASSERT_EQ(run({"record", "--reason", "r"}).status, 0);
  const std::string json = folder().file("golden.json");
  ChildResult result = run({"check", "--transport", "sim", "--json", json});
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_TRUE(says(result.output, "every one has its golden's bits")) << result.output;
  EXPECT_TRUE(says(read_file(json, "json"), "\"name\": \"small\""));

  Trace trace = load_trace(trace_path());
  trace.steps[4].loss = std::nextafter(trace.steps[4].loss, 9.0F);
  write_file(trace_path(), text_of(trace));
  result = run({"check", "--transport", "sim"});
  EXPECT_EQ(result.status, 1);
  EXPECT_TRUE(says(result.output, "first difference: recipe small, mesh dp=1 (none): step 8, loss"))
      << result.output;
  EXPECT_TRUE(says(result.output, "1 ULP apart"));
  EXPECT_TRUE(says(result.output, "rerun: build/bin/meshparity-train --recipe=")) << result.output;
  EXPECT_TRUE(says(result.output, "--trainer=train_single --trace=rerun.trace")) << result.output;
  EXPECT_FALSE(says(result.output, " yes\n")) << "no mesh hits a golden that no run gives";
}

/// Of a recipe whose corpus is the facts, the check also says what the model knows.
TEST_F(Golden, AModelOfFactsIsAsked) {
  write_file(folder().file("names.txt"), facts_corpus());
  const auto right_after = [&](const std::string& steps) {
    write_file(folder().file("recipes/small.recipe"),
               "data = ../names.txt\ncontext = 4\nembedding = 8\nhidden = 64\nbatch = 64\n"
               "batch-grain = 8\nlr = 0.5\nsteps = " +
                   steps + "\n");
    EXPECT_EQ(run({"record", "--reason", "r"}).status, 0);
    const std::string json = folder().file("golden.json");
    const ChildResult result = run({"check", "--transport", "sim", "--json", json});
    EXPECT_EQ(result.status, 0) << result.output;
    const auto answers =
        nlohmann::json::parse(read_file(json, "json")).at("recipes")[0].at("answers");
    EXPECT_EQ(answers.at("asked"), 200);
    const auto right = answers.at("right").get<std::size_t>();
    EXPECT_TRUE(says(result.output, "small: after " + steps + " steps the model knows " +
                                        std::to_string(right) + " of 200 sums and products\n"))
        << result.output;
    return right;
  };
  EXPECT_LT(right_after("1"), 10U);
  EXPECT_GT(right_after("1000"), 30U);
}

TEST(GoldenCases, EveryStrategyAndProductIsTried) {
  for (const GoldenRecipe& recipe : golden_recipes(MESHPARITY_GOLDEN_DIR, "")) {
    std::set<std::string> trainers;
    std::set<std::string> axes;
    for (const GoldenCase& tried : golden_cases(recipe, true, true)) {
      validate(tried.how, recipe.recipe, model_of(recipe.recipe, recipe.corpus.vocabulary()));
      const Mesh& mesh = tried.how.mesh;
      trainers.emplace(tried.trainer_name());
      axes.insert(std::string(mesh[Axis::dp] > 1 ? "d" : "") + (mesh[Axis::fsdp] > 1 ? "f" : "") +
                  (mesh[Axis::tp] > 1 ? "t" : "") + (mesh[Axis::pp] > 1 ? "p" : ""));
      EXPECT_TRUE(tried.transport != "mpi" || mesh.size() <= 12U);
    }
    EXPECT_EQ(trainers, (std::set<std::string>{"train_single", "train_dp", "train_fsdp", "train_tp",
                                               "train_pp", "train_mesh"}));
    EXPECT_EQ(axes.size(), 16U) << recipe.name << ": every product of the four axes";
  }
}

TEST(GoldenCases, ShippedGoldensAreReachedOnOneRank) {
  const std::vector<GoldenRecipe> recipes = golden_recipes(MESHPARITY_GOLDEN_DIR, "");
  EXPECT_GE(recipes.size(), 4U);
  for (const GoldenRecipe& recipe : recipes) {
    const Trace expected = load_trace(recipe.trace_path);
    EXPECT_EQ(expected.header.contract, contract_of(expected.header.recipe.model));
    EXPECT_FALSE(expected.header.reason.empty());
    const GoldenCase alone = golden_cases(recipe, false, false).front();
    EXPECT_EQ(check_case(recipe, expected, alone).difference, "") << recipe.name;
  }
}

TEST(GoldenCases, NoneIsThereTwice) {
  for (const GoldenRecipe& recipe : golden_recipes(MESHPARITY_GOLDEN_DIR, "")) {
    const std::vector<GoldenCase> cases = golden_cases(recipe, true, true);
    for (auto a = cases.begin(); a != cases.end(); ++a) {
      EXPECT_EQ(std::find(a + 1, cases.end(), *a), cases.end()) << recipe.name;
    }
  }
}

#ifdef MESHPARITY_WITH_MPI

/// The case of a golden recipe that is a job of mpirun, on two ranks.
std::string difference_of_job(const std::string& end) {
  const GoldenRecipe recipe = golden_recipes(MESHPARITY_GOLDEN_DIR, "mlc").front();
  const Trace expected = load_trace(recipe.trace_path);
  GoldenCase job{"mpi", Strategy::dp, {}, 10};
  job.how.mesh = parse_mesh("dp=2");
  // Trains as it should, in a simulated world, and ends as told.
  const FakeMpirun fake(
      "while [ \"$1\" != -n ]; do shift; done; shift 2\n"
      "\"${@/--transport=mpi/--transport=sim}\"\n" +
      end);
  return check_case(recipe, expected, job).difference;
}

TEST(GoldenCases, AJobThatFailsHasNotItsGoldensBits) {
  EXPECT_EQ(difference_of_job("exit 0"), "");
  EXPECT_TRUE(says(difference_of_job("exit 7"), "mpirun ended with status 7"));
  EXPECT_TRUE(says(difference_of_job("kill -SEGV $$"), "mpirun ended with status 139"));
}

TEST_F(Golden, AJobThatFailsIsCounted) {
  ASSERT_EQ(run({"record", "--reason", "r"}).status, 0);
  const FakeMpirun fake("exit 1");
  const std::string json = folder().file("golden.json");
  const ChildResult result = run({"check", "--json", json});
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_TRUE(says(result.output, "mpirun ended with status 1")) << result.output;
  const auto row = nlohmann::json::parse(read_file(json, "json")).at("recipes")[0];
  // The four jobs of mpirun.
  EXPECT_EQ(row.at("same_bits").get<std::size_t>() + 4, row.at("runs").get<std::size_t>());
  EXPECT_EQ(row.at("transports"), (std::set<std::string>{"mpi", "none", "sim"}));
}

/// A job that says that its machine failed (3) shows nothing, and keeps no other from being run.
TEST_F(Golden, AJobThatCouldNotRunIsNoSuccess) {
  ASSERT_EQ(run({"record", "--reason", "r"}).status, 0);
  const FakeMpirun fake("echo no memory >&2; exit 3");
  const ChildResult result = run({"check"});
  EXPECT_EQ(result.status, 4) << result.output;
  EXPECT_TRUE(says(result.output, "not run: mpirun ended with status 3: no memory"));
  EXPECT_TRUE(says(result.output, "unverified: 4 of ")) << result.output;
  EXPECT_FALSE(says(result.output, "first difference")) << result.output;
}

/// What differs outweighs what could not be run.
TEST_F(Golden, ADifferenceIsOneWhateverElseCouldNotRun) {
  ASSERT_EQ(run({"record", "--reason", "r"}).status, 0);
  const FakeMpirun fake("case \"$*\" in *--mesh=dp=2*) exit 7 ;; esac; exit 3");
  const ChildResult result = run({"check"});
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_TRUE(says(result.output, "mpirun ended with status 7")) << result.output;
}

#endif

TEST(GoldenCases, TheShippedCorpusIsNames) {
  const std::string text =
      read_file((fs::path(MESHPARITY_GOLDEN_DIR) / "corpus/given_names.txt").string(), "corpus");
  EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz\n"), std::string::npos);
  std::set<std::string> names;
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < text.size(); ++lines) {
    const std::size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    ASSERT_GE(end - begin, 2U);
    names.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  EXPECT_EQ(names.size(), lines) << "no name twice";
  EXPECT_GE(lines, 2500U);
}

}  // namespace
}  // namespace meshparity
