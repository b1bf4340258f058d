// meshparity-report, run as a user runs it, on results that are good, failed, missing, outdated or
// damaged.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "golden/jobs/child_process.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

struct Ended {
  int status = -1;
  std::string output;  // both streams

  bool says(const std::string& text) const { return output.find(text) != std::string::npos; }
};

Ended run_report(const std::vector<std::string>& options) {
  std::vector<std::string> command = {program_folder() + "/meshparity-report"};
  command.insert(command.end(), options.begin(), options.end());
  const ChildResult child = run_child(command, std::chrono::seconds(20));
  return {child.status, child.output + child.errors};
}

/// Results in which everything is proven, by file name.
std::map<std::string, std::string> good_results() {
  return {
      {"parity.json",
       R"({"strategies": [
            {"name": "train_dp", "transport": "sim", "cases": 512, "meshes": 37, "ranks_min": 1,
             "ranks_max": 12, "bit_equal": 512, "native_cases": 50, "native_worst_ratio": 0.31},
            {"name": "train_dp", "transport": "mpi", "cases": 12, "meshes": 5, "ranks_min": 2,
             "ranks_max": 2, "bit_equal": 12}],
           "products": [{"axes": "dp x tp", "transport": "sim", "cases": 300, "bit_equal": 300}],
           "seed": "12345", "seconds": 61.5, "simulated_per_minute": 23456.7,
           "distribution": [{"what": "a rank with an empty share", "cases": 123}],
           "resumed": {"cases": 200, "bit_equal": 200, "saved_gathered": 80, "saved_sharded": 90,
                       "most_pieces": 12,
                       "flaws": [{"what": "nothing", "tried": 40, "seen": 0},
                                 {"what": "first moments lost", "tried": 20, "seen": 19}]}})"},
      {"oracle.json",
       R"({"recipes": [{"name": "mlc", "steps": 500, "whole_steps": 500, "worst_ratio": 0.21,
                        "worst_tensor": "hidden.0.weight", "worst_step": 12,
                        "worst_local_ratio": 0.31, "worst_local_what": "hidden.0 output",
                        "bluntest_ratio": 0.02, "worst_update_ratio": 0.99}]})"},
      {"golden.json",
       R"({"recipes": [{"name": "mlc", "runs": 14, "same_bits": 14, "meshes": ["dp=2", "dp=2,tp=2"],
                        "transports": ["sim", "mpi"], "curve": [[0, 3.3], [1, 3.2], [2, 2.9]]}]})"},
      {"mutants.json",
       R"({"sources": "abc", "mutants": [{"id": "H01", "title": "<means> & sums", "property": "Parity.A",
            "killed": true, "killer": "Parity.A", "smallest_mesh": "dp=2", "seconds": 3.1}]})"},
      {"coverage.json",
       R"({"sources": "abc", "lines": 98.1, "branches": 87.0, "floor_lines": 97, "floor_branches": 85,
           "golden_lines": 96.2, "floor_golden": 95,
           "files": {"parallel/train_dp.cpp": 99.2}})"},
      {"portability.json",
       R"({"sources": "abc", "environments": [
            {"name": "g++ -O0", "compiler": "gcc 12.2", "seconds": 20,
             "goldens": [{"name": "mlc", "compared": 3, "same": 3, "difference": "", "sha256": "a0"}],
             "kernels": [{"name": "transpose", "compared": 70, "same": 70, "difference": "", "sha256": "b0"}],
             "functions": [{"name": "exp", "compared": 800, "same": 800, "difference": "", "sha256": "c0"}]},
            {"name": "g++ -O2, s390x", "compiler": "gcc 12.2", "seconds": 50,
             "goldens": [{"name": "mlc", "compared": 3, "same": 3, "difference": "", "sha256": "a0"}],
             "kernels": [{"name": "transpose", "compared": 70, "same": 70, "difference": "", "sha256": "b0"}],
             "functions": [{"name": "exp", "compared": 800, "same": 800, "difference": "", "sha256": "c0"}]}]})"},
      {"bench.json",
       R"({"sources": "abc", "ratios": [
            {"part": "products", "name": "wide, forward", "ratio": 0.961, "bar": 0.8,
             "good": "above", "note": "107 GFLOP/s", "baseline": 0.95},
            {"part": "collectives", "name": "all_reduce", "ratio": 0.87, "bar": 1,
             "good": "below", "note": "15 us"}]})"},
  };
}

/// A folder of results, gone at the end.
class Folder {
 public:
  explicit Folder(const std::map<std::string, std::string>& files) {
    std::string pattern = (fs::temp_directory_path() / "report-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
    for (const auto& [name, text] : files) std::ofstream(path_ / name) << text;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  Ended report(std::vector<std::string> options = {}) const {
    options.insert(options.begin(), {"--reports", path_.string()});
    return run_report(options);
  }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path_ / name).rdbuf();
    return text.str();
  }

 private:
  fs::path path_;
};

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::runtime_error("no '" + from + "' in the sample");
  return text.replace(at, from.size(), to);
}

/// The report of good results in which `from` became `to` in one file.
Ended report_with(const std::string& name, const std::string& from, const std::string& to) {
  auto files = good_results();
  files[name] = replaced(files[name], from, to);
  return Folder(files).report();
}

TEST(Report, ShowsEveryPartOfGoodResults) {
  const Folder folder(good_results());
  const Ended ended = folder.report(
      {"--require", "parity,oracle,golden,mutants,coverage,portability,bench", "--sources", "abc"});
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(ended.says("512 random simulated cases and 12 under Open MPI, all bit-equal"))
      << ended.output;
  for (const char* text : {"train_dp", "1-12", "dp x tp", "0.31", "1 mesh", "1 caught", "99.2 %",
                           "23457 simulated cases/minute", "mlc", "0.21", "14 of 14",
                           "1 of 1 caught", "lines 98.1 % (floor 97 %)", "g++ -O2, s390x",
                           "70 of 70", "2 of 2 environments", "one core: 1 of 1 bars met"}) {
    EXPECT_TRUE(ended.says(text)) << "no '" << text << "' in\n" << ended.output;
  }
  const std::string html = folder.read("report.html");
  EXPECT_NE(html.find("<polyline"), std::string::npos);
  EXPECT_NE(html.find("&lt;means&gt; &amp; sums"), std::string::npos);
  EXPECT_EQ(html.find("<means>"), std::string::npos);
  for (const char* link : {"src=", "href=", "url("}) EXPECT_EQ(html.find(link), std::string::npos);
  EXPECT_NE(folder.read("report.md").find("| H01 |"), std::string::npos);
  for (const char* picture : {"loss_curves.svg", "bench_bars.svg"}) {
    EXPECT_EQ(folder.read(picture).rfind("<svg", 0), 0U);
    EXPECT_NE(folder.read("report.md").find(picture), std::string::npos);
  }
}

TEST(Report, JudgesSpeedWithoutFailing) {
  const auto slow = [](const std::string& from, const std::string& to) {
    auto files = good_results();
    files["bench.json"] = replaced(files["bench.json"], from, to);
    const Folder folder(files);
    const Ended ended = folder.report();
    EXPECT_EQ(ended.status, 0) << ended.output;
    return ended.output + folder.read("report.md");
  };
  const auto says = [](const std::string& text, const std::string& what) {
    return text.find(what) != std::string::npos;
  };
  EXPECT_TRUE(says(slow("0.961", "0.961"), "| +1.2 % |"));
  EXPECT_TRUE(says(slow("0.961", "0.79"), "| 0.790 | >= 0.80 | FAIL | -16.8 % REGRESSED |"));
  EXPECT_TRUE(says(slow("0.87", "1.01"), R"(| 1.010 | \<= 1.00 | FAIL |)"));
  EXPECT_TRUE(says(slow("0.87", "1.01"), "canonical / native: 0 of 1 bars met"));
  EXPECT_TRUE(says(slow("\"bar\": 1,", "\"bar\": 0,"), "0 of 0 bars met"));
}

TEST(Report, FailsWhatFailed) {
  EXPECT_EQ(report_with("parity.json", "\"bit_equal\": 300", "\"bit_equal\": 299").status, 1);
  EXPECT_EQ(report_with("parity.json", "0.31", "1.01").status, 1);
  EXPECT_EQ(report_with("parity.json", "0.31", "0.31, \"native_within\": 49").status, 1);
  EXPECT_EQ(report_with("parity.json", "\"bit_equal\": 12}", "\"bit_equal\": 11}").status, 1);
  EXPECT_EQ(report_with("parity.json", "\"bit_equal\": 200", "\"bit_equal\": 199").status, 1);
  EXPECT_EQ(report_with("parity.json", "\"seen\": 0", "\"seen\": 1").status, 1);
  EXPECT_EQ(report_with("parity.json", "\"seen\": 19", "\"seen\": 0").status, 1);
  EXPECT_EQ(report_with("oracle.json", "0.21", "1.01").status, 1);
  EXPECT_EQ(report_with("oracle.json", "0.31", "1.01").status, 1);
  EXPECT_EQ(report_with("oracle.json", "0.99", "1.01").status, 1);
  EXPECT_EQ(report_with("golden.json", "\"same_bits\": 14", "\"same_bits\": 13").status, 1);
  EXPECT_EQ(report_with("mutants.json", "true", "false").status, 1);
  EXPECT_EQ(report_with("coverage.json", "98.1", "96.9").status, 1);
  EXPECT_EQ(report_with("coverage.json", "87.0", "84.9").status, 1);
  EXPECT_EQ(report_with("coverage.json", "96.2", "94.9").status, 1);
}

/// This change to good results leaves nothing that differs, but not all of it proven.
void expect_unverified(const std::string& name, const std::string& from, const std::string& to,
                       const std::string& said) {
  const Ended ended = report_with(name, from, to);
  EXPECT_EQ(ended.status, 4) << ended.output;
  EXPECT_TRUE(ended.says("\nUNVERIFIED: ")) << ended.output;
  EXPECT_TRUE(ended.says("UNVERIFIED  ")) << ended.output;
  EXPECT_TRUE(ended.says(said)) << ended.output;
  EXPECT_FALSE(ended.says("all bit-equal to one rank")) << ended.output;
}

TEST(Report, WhatWasNotRunIsUnverified) {
  expect_unverified("parity.json", "\"mpi\"", "\"sim\"", "NOT JUDGED: train_dp under Open MPI");
  expect_unverified("parity.json", "\"sim\", \"cases\": 512", "\"mpi\", \"cases\": 512",
                    "NOT JUDGED: train_dp on simulated meshes");
  expect_unverified("parity.json", "\"native_cases\": 50", "\"native_cases\": 0",
                    "NOT JUDGED: train_dp with native reductions");
  expect_unverified("parity.json", "0.31", "0", "NOT JUDGED: train_dp with native reductions");
  expect_unverified("parity.json", "\"cases\": 300, \"bit_equal\": 300",
                    "\"cases\": 0, \"bit_equal\": 0", "Every product");
  expect_unverified("parity.json", "\"cases\": 123", "\"cases\": 0",
                    "NOT REACHED: a rank with an empty share");
  expect_unverified("parity.json", "\"tried\": 20, \"seen\": 19", "\"tried\": 0, \"seen\": 0",
                    "NOT TRIED: first moments lost");
  expect_unverified("parity.json", "\"cases\": 200, \"bit_equal\": 200",
                    "\"cases\": 0, \"bit_equal\": 0", "Runs that stop and go on");
  expect_unverified("parity.json", "\"mpi\"", "\"pigeon\"", "unknown transport 'pigeon'");
  expect_unverified("oracle.json", "500", "0", "One rank against the float64 oracle");
  expect_unverified("oracle.json", "0.21", "null", "oracle.json");
  expect_unverified("golden.json", "[\"sim\", \"mpi\"]", "[\"sim\"]",
                    "NOT RUN on both transports: mlc");
  expect_unverified("golden.json", "[\"sim\", \"mpi\"]", "[\"none\", \"mpi\"]", "transports: mlc");
  expect_unverified("golden.json", "\"runs\": 14, \"same_bits\": 14",
                    "\"runs\": 0, \"same_bits\": 0", "transports: mlc");
}

TEST(Report, ADifferenceIsMoreThanAGap) {
  auto files = good_results();
  files["golden.json"] = replaced(files["golden.json"], "[\"sim\", \"mpi\"]", "[\"sim\"]");
  files["oracle.json"] = replaced(files["oracle.json"], "0.21", "1.01");
  const Ended ended = Folder(files).report();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.says("\nFAILED: One rank against the float64 oracle\n")) << ended.output;
  EXPECT_TRUE(ended.says("UNVERIFIED  Recorded traces")) << ended.output;
}

TEST(Report, MarkdownShowsWhatItQuotesAsItIs) {
  auto files = good_results();
  files["mutants.json"] =
      replaced(files["mutants.json"], "<means> & sums", "*a* [b](c) `d` | e_f\\n# g <h> & i");
  const Folder folder(files);
  EXPECT_EQ(folder.report().status, 0);
  EXPECT_NE(folder.read("report.md").find(R"(| \*a\* \[b\](c) \`d\` \| e\_f # g \<h> \& i |)"),
            std::string::npos)
      << folder.read("report.md");
}

TEST(Report, FailsAnEnvironmentWithOtherBits) {
  const Ended recorded = report_with("portability.json", R"("same": 3, "difference": "")",
                                     R"("same": 2, "difference": "step 12: loss")");
  EXPECT_EQ(recorded.status, 1);
  EXPECT_TRUE(recorded.says("NO: step 12: loss")) << recorded.output;
  // The first environment is what the others are compared with.
  const Ended others = report_with("portability.json", R"("sha256": "c0")", R"("sha256": "c1")");
  EXPECT_EQ(others.status, 1);
  EXPECT_TRUE(others.says("2 of 3")) << others.output;
  EXPECT_TRUE(others.says("NO: exp gives other bits")) << others.output;
  EXPECT_TRUE(others.says("1 of 2 environments")) << others.output;
  const Ended nothing = report_with("portability.json", R"("compared": 70, "same": 70)",
                                    R"("compared": 0, "same": 0)");
  EXPECT_TRUE(nothing.says("NO: transpose compared nothing")) << nothing.output;
}

TEST(Report, FailsAnEnvironmentWithoutResults) {
  auto files = good_results();
  files["portability.json"] =
      replaced(files["portability.json"], R"("environments": [)",
               R"("environments": [{"name": "clang++ -O2", "compiler": "", "seconds": 0,
                           "goldens": [], "kernels": [], "functions": []},)");
  const Ended ended = Folder(files).report();
  EXPECT_EQ(ended.status, 1);
  EXPECT_TRUE(ended.says("NO: no results")) << ended.output;
}

TEST(Report, ShowsOnePartAlone) {
  auto files = good_results();
  files["parity.json"] = replaced(files["parity.json"], "0.31", "1.01");
  const Folder folder(files);
  const Ended ended = folder.report({"--only", "portability"});
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(ended.says("g++ -O2, s390x")) << ended.output;
  EXPECT_FALSE(ended.says("train_dp")) << ended.output;
  EXPECT_EQ(folder.read("report.md"), "");
  files.erase("portability.json");
  EXPECT_EQ(Folder(files).report({"--only", "portability"}).status, 4);
}

TEST(Report, SaysWhatFailed) {
  const Ended ended = report_with("parity.json", "\"bit_equal\": 300", "\"bit_equal\": 299");
  EXPECT_TRUE(ended.says("FAILED: Every product")) << ended.output;
  EXPECT_TRUE(ended.says("1 DIFFER")) << ended.output;
  const Ended survivor = report_with("mutants.json", "true", "false");
  EXPECT_TRUE(survivor.says("SURVIVED Parity.A")) << survivor.output;
}

TEST(Report, NamesTheVerbOfWhatIsMissing) {
  auto files = good_results();
  files.erase("mutants.json");
  files.erase("golden.json");
  files.erase("bench.json");
  const Folder folder(files);
  const Ended ended = folder.report();
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(ended.says("not run: ./ci/mutants")) << ended.output;
  EXPECT_TRUE(ended.says("not run: ./ci/bench")) << ended.output;
  EXPECT_EQ(folder.report({"--require", "mutants"}).status, 4);
  EXPECT_TRUE(folder.report({"--require", "golden"}).says("UNVERIFIED: Recorded traces"));
  EXPECT_EQ(folder.report({"--require", "parity,oracle"}).status, 0);
}

TEST(Report, SetsAsideResultsOfOtherSources) {
  auto files = good_results();
  files["mutants.json"] = replaced(files["mutants.json"], "true", "false");
  const Ended ended = Folder(files).report({"--sources", "def"});
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_TRUE(ended.says("measured on other sources; run again: ./ci/mutants")) << ended.output;
  EXPECT_TRUE(ended.says("measured on other sources; run again: ./ci/coverage")) << ended.output;
}

TEST(Report, AnswersBadUsageWithTwo) {
  const Folder folder(good_results());
  EXPECT_EQ(folder.report({"--require", "speed"}).status, 2);
  EXPECT_EQ(folder.report({"--colour"}).status, 2);
  EXPECT_EQ(run_report({"--reports", "/nowhere/at/all"}).status, 2);
  EXPECT_EQ(folder.report({"--help"}).status, 0);
}

RC_GTEST_PROP(Report, AnyTruncatedFileIsUnverified, ()) {
  auto files = good_results();
  const auto count = static_cast<long>(files.size());
  auto& [name, text] = *std::next(files.begin(), *rc::gen::inRange<long>(0, count));
  text.resize(*rc::gen::inRange<std::size_t>(0, text.size() - 1));
  const Ended ended = Folder(files).report();
  RC_ASSERT(ended.status == 4);
  RC_ASSERT(ended.says(name));
}

}  // namespace
}  // namespace meshparity
