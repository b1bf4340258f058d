// meshparity-judge as a user runs it: what it prints, and how it ends.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "property_tests/golden/judge/small_recording.h"
#include "property_tests/golden/programs/command_line_fixture.h"

namespace meshparity::command_line {
namespace {

class JudgeCommand : public testing::Test {
 protected:
  std::string folder(const std::string& name) const { return temporary_.file(name); }
  static ChildResult judge(const Words& arguments) {
    return run(MESHPARITY_JUDGE_PROGRAM, arguments);
  }

  static void expect_end(const ChildResult& result, int status, const std::string& verdict) {
    EXPECT_EQ(result.status, status) << result.output << result.errors;
    EXPECT_TRUE(result.output.ends_with("verdict: " + verdict + "\n")) << result.output;
    EXPECT_EQ(result.errors, "");
  }
  static void expect_refused(const ChildResult& result, const std::string& complaint) {
    EXPECT_EQ(result.status, 2) << result.errors;
    EXPECT_TRUE(result.errors.starts_with("error: ")) << result.errors;
    EXPECT_TRUE(says(result.errors, "\ntry: ")) << result.errors;
    EXPECT_TRUE(says(result.errors, complaint)) << result.errors;
  }

 private:
  TemporaryFolder temporary_;
};

TEST_F(JudgeCommand, VerifiesARightRecordingOfAnyNumberOfRanks) {
  for (const std::size_t ranks : {1U, 2U, 4U}) {
    const std::string name = folder(std::to_string(ranks));
    write_recording(name, small_step({.parts = ranks, .max_norm = 0.1}), ranks);
    const ChildResult result = judge({name});
    expect_end(result, 0, "verified");
    for (const char* const part : {"premises: float32; sums in any order", "attention: gradient",
                                   "AdamW: parameter", "clip factor"}) {
      EXPECT_TRUE(says(result.output, part)) << part << result.output;
    }
  }
}

TEST_F(JudgeCommand, NamesTheFirstDifference) {
  RecordedStep step = small_step();
  for (float& g : step.tensors.at("grad/h.1.ln_2.weight").values) g *= 2;
  write_recording(folder("wrong"), step);
  const ChildResult result = judge({folder("wrong"), "--json", folder("verdict.json")});
  expect_end(result, 1, "different");
  EXPECT_TRUE(says(result.output, "first difference: step 0, grad/h.1.ln_2.weight["));
  EXPECT_TRUE(says(result.output, "layer norm: gain gradient"));
  const auto json = nlohmann::json::parse(read_file(folder("verdict.json"), "verdict"));
  EXPECT_EQ(json["verdict"], "different");
  EXPECT_EQ(json["first"]["tensor"], "grad/h.1.ln_2.weight");
  EXPECT_EQ(json["first"]["step"], 0);
}

TEST_F(JudgeCommand, EndsWith4WhereSomethingIsMissing) {
  RecordedStep step = small_step();
  step.tensors.erase("grad_input/h.0.ln_2");
  write_recording(folder("missing"), step);
  const ChildResult result = judge({folder("missing")});
  expect_end(result, 4, "unverified");
  EXPECT_TRUE(says(result.output, "missing: step 0: grad_input/h.0.ln_2"));
}

TEST_F(JudgeCommand, EndsWith4WhereABoundIsBlunt) {
  RecordedStep step = small_step();
  std::erase_if(step.tensors, [](const auto& entry) {
    return entry.first.starts_with("input/") || entry.first.starts_with("output/") ||
           entry.first.starts_with("grad_input/") || entry.first.starts_with("grad_output/");
  });
  write_recording(folder("blunt"), step);
  const ChildResult result = judge({folder("blunt")});
  expect_end(result, 4, "unverified");
  EXPECT_TRUE(says(result.output, "unverified: blunt"));
  EXPECT_TRUE(says(result.output, "not recorded: operations"));
  EXPECT_TRUE(says(result.output, "try: record operations"));
}

TEST_F(JudgeCommand, ReplicasThatDifferEndWith1) {
  const RecordedStep step = small_step({.parts = 2});
  write_recording(folder("replicas"), step, 2);
  RankRecording other = rank_recording(step, 1, 2);
  std::get<std::vector<float>>(other.tensor("param_after/wte.weight").values)[0] += 1;
  write_recording(folder("replicas"), other);
  const ChildResult result = judge({folder("replicas")});
  expect_end(result, 1, "different");
  EXPECT_TRUE(says(result.output, "param_after/wte.weight, element 0: rank 0 holds"));
}

TEST_F(JudgeCommand, ComparesTwoRecordings) {
  RecordedStep step = small_step({.parts = 2});
  write_recording(folder("one"), step, 1);
  write_recording(folder("two"), step, 2);
  expect_end(judge({folder("one"), folder("two")}), 0, "verified");
  step.tensors.at("output/ln_f").values[0] += 1;
  write_recording(folder("off"), step, 2);
  const ChildResult result = judge({folder("one"), folder("off"), "--json", folder("pair.json")});
  expect_end(result, 1, "different");
  EXPECT_TRUE(says(result.output, "off: the second"));
  const auto json = nlohmann::json::parse(read_file(folder("pair.json"), "verdict"));
  EXPECT_EQ(json["recordings"][0]["verdict"], "verified");
  EXPECT_EQ(json["recordings"][1]["verdict"], "different");
  // The page is that of the one that is off, wherever it stands.
  for (const bool first : {true, false}) {
    judge({folder(first ? "off" : "one"), folder(first ? "one" : "off"), "--html", folder("page")});
    const std::string page = read_file(folder("page"), "page");
    EXPECT_TRUE(says(page, folder("off"))) << page;
    EXPECT_FALSE(says(page, folder("one"))) << page;
    EXPECT_TRUE(says(page, "output/ln_f")) << page;
  }
  step.number = 1;
  write_recording(folder("off"), step, 2);
  expect_refused(judge({folder("one"), folder("off")}), "do not hold the same steps");
  expect_end(judge({folder("one"), folder("off"), "--steps", "0"}), 1, "different");
}

TEST_F(JudgeCommand, LooksIntoTheStepBeforeForWhereAGradientIsFrom) {
  const std::string name = "grad/h.1.mlp.c_fc.weight";
  RecordedStep before = small_step();
  std::ranges::reverse(before.tensors.at(name).values);
  RecordedStep step = small_step();
  step.number = 1;
  for (std::size_t i = 0; i < step.tensors.at(name).values.size(); ++i) {
    step.tensors.at(name).values[i] += before.tensors.at(name).values[i];
  }
  const auto named = [&] {
    const ChildResult result =
        judge({folder("steps"), "--steps", "1", "--json", folder("verdict.json")});
    expect_end(result, 1, "different");
    const auto json = nlohmann::json::parse(read_file(folder("verdict.json"), "verdict"));
    EXPECT_EQ(json["first"]["tensor"], name);
    return json["hypotheses"].empty() ? "none" : json["hypotheses"][0]["name"].get<std::string>();
  };
  write_recording(folder("steps"), step);
  EXPECT_EQ(named(), "none");
  write_recording(folder("steps"), before);
  EXPECT_EQ(named(), "not-zeroed");
}

TEST_F(JudgeCommand, PrintsEveryLineOrTheWorstOfAKind) {
  write_recording(folder("right"), small_step());
  EXPECT_FALSE(says(judge({folder("right")}).output, "grad/h.0.ln_1.weight"));
  EXPECT_TRUE(says(judge({folder("right"), "--all"}).output, "grad/h.0.ln_1.weight"));
}

TEST_F(JudgeCommand, RefusesBadInput) {
  write_recording(folder("right"), small_step());
  expect_refused(judge({folder("nothing")}), "nothing");
  expect_refused(judge({folder("right"), "--steps", "3"}), "holds no step 3");
  expect_refused(judge({folder("right"), "--steps", "x"}), "x");
  expect_refused(judge({}), "recording");
  expect_refused(judge({folder("right"), "--json", folder("no") + "/x"}), "no/x");
  RankRecording nan = rank_recording(small_step(), 0, 1);
  std::get<std::vector<float>>(nan.tensor("loss").values)[0] = std::nanf("");
  write_recording(folder("nan"), nan);
  expect_refused(judge({folder("nan")}), "tensor 'loss' holds no number at [0]");
}

TEST_F(JudgeCommand, ShowsNoControlCharactersOfForeignNames) {
  RankRecording recording = rank_recording(small_step(), 0, 1);
  recording.tensor("grad/wpe.weight").name = "grad/\x1b[31mwpe";
  write_recording(folder("odd"), recording);
  const ChildResult result = judge({folder("odd")});
  expect_refused(result, "\\x1b[31mwpe");
  EXPECT_FALSE(says(result.errors, "\x1b"));
}

/// What meshparity-train records is judged like anybody's recording.
class JudgedTraining : public CommandLineFixture {
 protected:
  ChildResult judged(const Words& more) const {
    const std::string folder = file("recorded");
    fs::remove_all(folder);
    Words words = {"--quiet", "--stop-after", "2", "--record-tensors", folder};
    words.insert(words.end(), more.begin(), more.end());
    const ChildResult trained = train(words);
    EXPECT_EQ(trained.status, 0) << trained.errors;
    return run(MESHPARITY_JUDGE_PROGRAM, {folder});
  }
};

TEST_F(JudgedTraining, IsVerified) {
  for (const Words& more : std::vector<Words>{{},
                                              {"--record-boundaries", "--layers", "2"},
                                              {"--record-boundaries", "--mesh", "tp=2,pp=2"},
                                              {"--optimizer", "adamw", "--clip", "0.1"}}) {
    const ChildResult result = judged(with_recipe(more));
    EXPECT_EQ(result.status, 0) << (more.empty() ? "" : more.front()) << "\n" << result.output;
    EXPECT_TRUE(result.output.ends_with("verdict: verified\n")) << result.output;
    const bool with_boundaries = !more.empty() && more.front() == "--record-boundaries";
    EXPECT_EQ(says(result.output, "not recorded: operations"), !with_boundaries);
    EXPECT_EQ(says(result.output, "ReLU"), with_boundaries) << result.output;
    EXPECT_EQ(says(result.output, "clip factor"), more.size() > 3) << result.output;
  }
}

TEST_F(JudgedTraining, WithDropoutIsNotKnownEnough) {
  const ChildResult result =
      judged({"--model", "gpt2", "--data", file("names.txt"), "--positions", "8", "--layers", "1",
              "--heads", "2", "--channels", "4", "--dropout", "0.25", "--record-boundaries"});
  EXPECT_EQ(result.status, 4) << result.output;
  EXPECT_TRUE(says(result.output, "dropout 0.25: what it dropped is not recorded"))
      << result.output;
  EXPECT_TRUE(result.output.ends_with("verdict: unverified\n")) << result.output;
}

TEST_F(JudgeCommand, HasAHelp) {
  const ChildResult result = judge({"--help"});
  EXPECT_EQ(result.status, 0);
  EXPECT_TRUE(says(result.output, "Exit status: 0 verified, 1 different, 2 bad usage or input"));
}

}  // namespace
}  // namespace meshparity::command_line
