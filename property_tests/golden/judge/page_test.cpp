// Pages of verdicts: what they say, and that names from a recording stay text.
#include "golden/judge/page.h"

#include <gtest/gtest.h>

#include "golden/files/tensor_map.h"
#include "golden/judge/diagnosis.h"
#include "property_tests/golden/judge/recorded_gpt2.h"
#include "property_tests/says.h"

namespace meshparity {
namespace {

std::size_t count(const std::string& page, const std::string& text) {
  std::size_t found = 0;
  for (std::size_t at = page.find(text); at != std::string::npos; at = page.find(text, at + 1)) {
    ++found;
  }
  return found;
}

/// Every element that is opened is closed, in order.
void expect_well_formed(const std::string& page) {
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const bool closes = page[at + 1] == '/';
    const std::size_t begin = at + (closes ? 2 : 1);
    const std::string name = page.substr(begin, page.find_first_of(" >", begin) - begin);
    if (name == "!doctype" || name == "meta") continue;
    if (!closes) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << page.substr(at, 40);
    ASSERT_EQ(open.back(), name) << page.substr(at, 40);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(JudgePage, AVerifiedStepIsAMapOfEveryTensor) {
  const StepVerdict verdict = judge_recorded_step(recorded::complete_step());
  const std::string page = verdict_page("folder", "premises: float32\n", {verdict});
  expect_well_formed(page);
  EXPECT_TRUE(says(page, "premises: float32"));
  EXPECT_FALSE(says(page, "first: ")) << "nothing differs";
  EXPECT_EQ(count(page, "<td class=\"field"), verdict.lines.size());
  EXPECT_TRUE(says(page, "<th>h.1.mlp.c_fc</th>"));
  EXPECT_FALSE(says(page, "<script"));
}

TEST(JudgePage, TheFirstDifferenceIsMarkedOnceAndNamed) {
  const RecordedStep step = recorded::complete_step({.other_gelu = true});
  std::vector<StepVerdict> verdicts = {judge_recorded_step(recorded::complete_step()),
                                       judge_recorded_step(step)};
  verdicts[1].step = 1;
  diagnose_first(step, verdicts);
  const std::string page = verdict_page("folder", "premises", verdicts);
  expect_well_formed(page);
  EXPECT_EQ(count(page, "class=\"field first\""), 1U);
  EXPECT_TRUE(says(page, "<td>gelu-other</td>"));
  EXPECT_TRUE(says(page, "<details open>\n<summary>step 1</summary>"));
  EXPECT_TRUE(says(page, "<details>\n<summary>step 0</summary>"));
}

TEST(JudgePage, ForeignTextStaysText) {
  StepVerdict verdict;
  VerdictLine line;
  line.tensor = "grad/<script>alert(\"1\")</script>\x1b[2J";
  line.kind = "<b>";
  line.state = LineState::different;
  line.shape = {1};
  verdict.lines.push_back(line);
  verdict.missing = {"<i>missing</i>"};
  verdict.replicas.push_back({"<u>", 0, 0, 1, 0, 1});
  const std::string page = verdict_page("<folder & \"co\">", "<premises>", {verdict});
  expect_well_formed(page);
  for (const char* foreign : {"<script", "<b>", "<i>", "<u>", "<folder", "<premises", "\x1b"}) {
    EXPECT_FALSE(says(page, foreign)) << foreign;
  }
  EXPECT_TRUE(says(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;\\x1b[2J"));
}

TEST(TensorMap, FieldsStandByOperationAndGroup) {
  const std::string map = tensor_map({{"output/h.0.ln_1", "A", "", 0.5},
                                      {"grad/h.0.ln_1.bias", "B", "", 2},
                                      {"state_after/exp_avg/h.0.ln_1.bias", "C", "", 0, true},
                                      {"loss", "D", "", 0, false, true}});
  EXPECT_TRUE(says(map,
                   "<th colspan=\"1\">forward</th><th colspan=\"1\">gradient</th>"
                   "<th colspan=\"1\">first moment</th>"))
      << map;
  EXPECT_TRUE(says(map,
                   "<tr><th>h.0.ln_1</th><td class=\"field\" style=\"background:#c7e2f4\" "
                   "title=\"\">A</td><td class=\"field\" style=\"background:#e69f00\""))
      << map;
  EXPECT_TRUE(says(map, "background:#d8dee4\" title=\"\">C</td></tr>")) << map;
  EXPECT_TRUE(says(map, "<tr><th>loss</th><td class=\"field first\"")) << map;
}

}  // namespace
}  // namespace meshparity
