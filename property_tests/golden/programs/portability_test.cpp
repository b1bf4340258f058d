// meshparity-portable on a golden folder of one small recipe: what it compares, and that it can
// fail.
#include <cmath>
#include <nlohmann/json.hpp>

#include "golden/files/trace_file.h"
#include "golden/programs/portability_cases.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class Portability : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_.path() / "recipes");
    write_file(folder_.file("names.txt"), "emma\nolivia\nava\n");
    write_file(folder_.file("recipes/small.recipe"),
               "data = ../names.txt\ncontext = 2\nembedding = 2\nhidden = 3\nbatch = 4\nsteps = 4\n"
               "batch-grain = 1\nfeature-grain = 2\nvocab-grain = 4\n");
    const ChildResult made = run(MESHPARITY_GOLDEN_PROGRAM, {"record", "--reason", "new", dir()});
    ASSERT_EQ(made.status, 0) << made.errors;
  }

  std::string dir() const { return "--golden-dir=" + folder_.path().string(); }
  ChildResult check(std::vector<std::string> arguments = {}) const {
    arguments.insert(arguments.end(),
                     {dir(), "--environment", "here", "--json", folder_.file("results.json")});
    return run(program_folder() + "/meshparity-portable", arguments);
  }

  const TemporaryFolder folder_;
};

TEST_F(Portability, ComparesGoldensKernelsAndFunctions) {
  const ChildResult result = check();
  ASSERT_EQ(result.status, 0) << result.output << result.errors;
  EXPECT_FALSE(says(result.output, "NO: ")) << result.output;
  const auto json = nlohmann::json::parse(read_file(folder_.file("results.json"), "results"));
  EXPECT_EQ(json.at("name"), "here");
  for (const char* part : {"goldens", "kernels", "functions"}) {
    EXPECT_FALSE(json.at(part).empty()) << part;
    for (const auto& one : json.at(part)) {
      EXPECT_GT(one.at("compared").get<std::size_t>(), 0U) << one;
      EXPECT_EQ(one.at("same"), one.at("compared")) << one;
      EXPECT_EQ(one.at("sha256").get<std::string>().size(), 64U) << one;
    }
  }
}

TEST_F(Portability, OtherBitsAreNotProven) {
  const std::string path = folder_.file("traces/small.trace");
  Trace trace = load_trace(path);
  trace.steps[2].digest += 1;
  write_file(path, text_of(trace));
  const ChildResult result = check();
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_TRUE(says(result.output, "NO: dp=1: step 2, digest")) << result.output;
}

TEST_F(Portability, FirstStepsAloneHaveTheSameSha256) {
  std::string text = read_file(folder_.file("recipes/small.recipe"), "recipe");
  text.replace(text.find("steps = 4"), 9, "steps = 60");
  write_file(folder_.file("recipes/longer.recipe"), text);
  const ChildResult made =
      run(MESHPARITY_GOLDEN_PROGRAM, {"record", "--reason", "new", "--recipe", "longer", dir()});
  ASSERT_EQ(made.status, 0) << made.errors;
  // A difference behind the first steps, which no mesh is compared to.
  const std::string path = folder_.file("traces/longer.trace");
  Trace trace = load_trace(path);
  trace.steps.back().digest += 1;
  write_file(path, text_of(trace));
  const auto hashes = [&] {
    std::vector<std::string> all;
    const auto json = nlohmann::json::parse(read_file(folder_.file("results.json"), "results"));
    for (const auto& one : json.at("goldens")) all.push_back(one.at("sha256"));
    return all;
  };
  const ChildResult whole = check();
  EXPECT_EQ(whole.status, 1) << whole.output;
  EXPECT_TRUE(says(whole.output, "NO: one rank to the end: step 59, digest")) << whole.output;
  const std::vector<std::string> of_whole = hashes();
  ASSERT_EQ(of_whole.size(), 2U);
  const ChildResult first = check({"--first-steps"});
  EXPECT_EQ(first.status, 0) << first.output;
  EXPECT_EQ(hashes(), of_whole);
}

TEST(PortabilityJudge, OneOtherBitOfAKernelIsNotProven) {
  Judge judge("dot");
  const std::vector<float> right{1, -0.0F, std::nanf("")};
  judge.compare(0, right, right);
  EXPECT_TRUE(judge.verdict().proven());
  judge.compare(1, std::vector<float>{1, 0.0F, 2}, right);
  judge.compare(2, std::vector<float>{2, -0.0F, 2}, right);
  const PortabilityCheck check = judge.verdict();
  EXPECT_FALSE(check.proven());
  EXPECT_EQ(check.name, "dot");
  EXPECT_EQ(check.compared, 9U);
  EXPECT_EQ(check.same, 5U);
  // fmt 10 writes another exponent of zero than fmt 9.
  EXPECT_TRUE(says(check.difference, "dot, case 1, element 1: expected -0x0p")) << check.difference;
  EXPECT_TRUE(says(check.difference, ", got 0x0p")) << check.difference;
  EXPECT_FALSE(Judge("none").verdict().proven()) << "nothing was compared";
}

TEST_F(Portability, KnowsTheInstructionSetsOfThisMachine) {
  const std::string program = program_folder() + "/meshparity-portable";
  const ChildResult isas = run(program, {"--list-isas"});
  EXPECT_EQ(isas.status, 0);
  EXPECT_TRUE(says(isas.output, "scalar\n")) << isas.output;
  EXPECT_EQ(run(program, {"--golden-dir", folder_.file("nowhere")}).status, 2);
}

}  // namespace
}  // namespace meshparity::command_line
