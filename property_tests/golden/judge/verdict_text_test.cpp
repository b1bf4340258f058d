// What a user reads of verdicts, as text and as JSON.

#include "golden/judge/verdict_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "property_tests/says.h"

namespace meshparity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

VerdictLine line_of(const std::string& tensor, LineState state) {
  VerdictLine line;
  line.step = 3;
  line.tensor = tensor;
  line.kind = "linear";
  line.state = state;
  line.worst_ratio = 0.25;
  line.bluntness = 0.001;
  line.relative_error = 0.0002;
  line.shape = {2, 3};
  line.element = 4;
  line.actual = 1.5;
  line.expected = 1.25;
  line.bound = 0.5;
  return line;
}

StepVerdict verdict_of(const std::vector<VerdictLine>& lines) {
  StepVerdict verdict;
  verdict.step = 3;
  verdict.lines = lines;
  return verdict;
}

TEST(VerdictText, PremisesNameTheArithmetic) {
  RecordedStep step;
  const std::string rest = "; exp, log, tanh and roots within 4 ulp, erf within 2^-20\n";
  EXPECT_EQ(premises_text(step), "premises: float32; sums in any order" + rest);
  step.arithmetic = RecordedArithmetic::tf32;
  step.longest_chain = 32;
  EXPECT_EQ(premises_text(step),
            "premises: float32, factors of products cut to 10 bits (tf32); sums in chains of at "
            "most 32 terms, joined by a tree" +
                rest);
  step.arithmetic = RecordedArithmetic::bf16;
  step.longest_chain.reset();
  EXPECT_EQ(premises_text(step),
            "premises: float32 sums of bfloat16, stored as bfloat16; sums in any order" + rest);
}

TEST(VerdictText, AKindHasTheWorstOfItsTensors) {
  VerdictLine worse = line_of("output/b", LineState::different);
  worse.worst_ratio = 8;
  VerdictLine blunt = line_of("output/c", LineState::blunt);
  blunt.bluntness = 0.5;
  blunt.worst_ratio = 0;
  const StepVerdict verdict = verdict_of({line_of("output/a", LineState::verified), worse, blunt});
  EXPECT_TRUE(says(verdict_text({verdict}, false),
                   "linear           3  different                    8          0.5  step 3, "
                   "output/b\n"))
      << verdict_text({verdict}, false);
  const std::string all = verdict_text({verdict}, true);
  EXPECT_TRUE(says(all,
                   "linear           1  verified                  0.25        0.001  step 3, "
                   "output/a\n"))
      << all;
  EXPECT_TRUE(says(all,
                   "linear           1  unverified: blunt            -          0.5  step 3, "
                   "output/c\n"))
      << all;
  EXPECT_TRUE(says(all,
                   "first difference: step 3, output/b[1, 1] (linear): 1.5, the oracle says "
                   "1.25 within 0.5, error / bound 8\n"))
      << all;
  EXPECT_TRUE(all.ends_with("verdict: different\n")) << all;
}

TEST(VerdictText, LongListsAreCut) {
  StepVerdict verdict = verdict_of({});
  for (int i = 0; i < 23; ++i) verdict.missing.push_back("grad/" + std::to_string(i));
  for (int i = 0; i < 7; ++i) verdict.lines.push_back(line_of("output/x", LineState::blunt));
  verdict.lines[0].bluntness = kInfinity;
  const std::string text = verdict_text({verdict}, false);
  EXPECT_TRUE(says(text, "missing: step 3: grad/19\nmissing: step 3: 3 more\n")) << text;
  EXPECT_TRUE(says(text, "unverified: step 3, output/x: no bound holds; the error 0.0002 of it\n"))
      << text;
  EXPECT_TRUE(says(text,
                   "unverified: step 3, output/x: the bound is 0.001 of the values' root "
                   "mean square, the error 0.0002 of it\nunverified: 2 more, see --all\n"))
      << text;
}

TEST(VerdictText, JsonHoldsAllOfIt) {
  StepVerdict verdict = verdict_of(
      {line_of("output/a", LineState::verified), line_of("output/b", LineState::coarser),
       line_of("output/c", LineState::blunt), line_of("output/d", LineState::different)});
  verdict.lines[2].bluntness = kInfinity;
  verdict.missing = {"grad/x"};
  verdict.reasons = {"dropout"};
  verdict.replicas.push_back({"param/x", 5, 0, 2, 1.0F, 2.0F});
  Diagnosis diagnosis;
  diagnosis.fitting.push_back({.mistake = {"sign", "minus it", "it is turned", "A01"},
                               .unexplained = 0.125,
                               .within = 5,
                               .elements = 6});
  verdict.diagnosis = diagnosis;
  const auto json = nlohmann::json::parse(verdict_json({verdict}));
  EXPECT_EQ(json["verdict"], "different");
  std::vector<std::string> states;
  for (const auto& line : json["lines"]) states.push_back(line["verdict"]);
  EXPECT_EQ(states, (std::vector<std::string>{"verified", "unverified: bf16", "unverified: blunt",
                                              "different"}));
  EXPECT_EQ(json["lines"][2]["bound_over_value"], "infinite") << "JSON has no such number";
  EXPECT_EQ(json["first"], json["lines"][3]);
  const auto first = nlohmann::json::parse(R"({
      "step": 3, "tensor": "output/d", "kind": "linear", "verdict": "different",
      "error_over_bound": 0.25, "bound_over_value": 0.001, "error_over_value": 0.0002,
      "index": "[1, 1]", "actual": 1.5, "expected": 1.25, "bound": 0.5})");
  EXPECT_EQ(json["first"], first);
  EXPECT_EQ(json["replicas"], nlohmann::json::parse(R"([{"step": 3, "tensor": "param/x",
      "element": 5, "rank": 0, "other_rank": 2}])"));
  EXPECT_EQ(json["hypotheses"], nlohmann::json::parse(R"([{"name": "sign", "what": "minus it",
      "why": "it is turned", "catalogue": "A01", "unexplained": 0.125, "within": 5,
      "elements": 6}])"));
  EXPECT_EQ(json["missing"], nlohmann::json::array({"grad/x"}));
  EXPECT_EQ(json["reasons"], nlohmann::json::array({"dropout"}));
}

TEST(VerdictText, WithoutADifferenceThereIsNoFirst) {
  const auto json =
      nlohmann::json::parse(verdict_json({verdict_of({line_of("x", LineState::blunt)})}));
  EXPECT_EQ(json["verdict"], "unverified");
  EXPECT_TRUE(json["first"].is_null());
  EXPECT_TRUE(json["hypotheses"].empty());
}

TEST(VerdictText, OfTwoRecordingsTheOneThatIsOffIsNamed) {
  PairVerdict pair;
  const StepVerdict right = verdict_of({line_of("x", LineState::verified)});
  const StepVerdict wrong = verdict_of({line_of("x", LineState::different)});
  const auto end = [&](const StepVerdict& first, const StepVerdict& second) {
    pair.first = {first};
    pair.second = {second};
    const std::string text = pair_text(pair, false);
    return text.substr(text.find("\nboth\n") + 6);
  };
  EXPECT_EQ(end(right, right), "verdict: verified\n");
  EXPECT_EQ(end(wrong, right), "off: the first\nverdict: different\n");
  EXPECT_EQ(end(right, wrong), "off: the second\nverdict: different\n");
  EXPECT_EQ(end(wrong, wrong), "off: both\nverdict: different\n");
  EXPECT_EQ(end(right, verdict_of({line_of("x", LineState::blunt)})), "verdict: unverified\n");
  for (int i = 0; i < 7; ++i) pair.differences.push_back({3, "x" + std::to_string(i), 0.1 * i});
  pair.unlike = {"step 3: batch.tokens are not the same"};
  EXPECT_EQ(end(right, right),
            "apart by 0.6 of the root mean square: step 3, x6\n"
            "apart by 0.5 of the root mean square: step 3, x5\n"
            "apart by 0.4 of the root mean square: step 3, x4\n"
            "apart by 0.3 of the root mean square: step 3, x3\n"
            "apart by 0.2 of the root mean square: step 3, x2\n"
            "unlike: step 3: batch.tokens are not the same\n"
            "verdict: different\n");
}

}  // namespace
}  // namespace meshparity
