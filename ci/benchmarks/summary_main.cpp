// bench-summary: gathers what the benchmark programs printed, compares it with the saved baseline,
// writes bench.json and prints it all as Markdown.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "ci/report/results.h"
#include "ci/report/sections.h"
#include "ci/report/write.h"

namespace meshparity::report {
namespace {

using Json = nlohmann::ordered_json;
using Path = std::filesystem::path;

struct Options {
  std::string measured;  ///< lines of JSON, as the programs print them
  std::string baseline;
  std::string reports;
  std::string sources;
  std::string processor;
  bool saves_baseline = false;
};

void write_json(const Path& file, const Json& json) {
  std::ofstream stream(file);
  stream << json.dump(2) << '\n';
  stream.close();
  if (!stream) throw std::runtime_error("cannot write " + file.string());
}

/// {"processor": ..., "ratios": {part: {name: ratio}}}; without ratios if there is no file.
Json read_baseline(const Path& file) {
  if (!std::filesystem::exists(file)) return {{"processor", ""}, {"ratios", Json::object()}};
  std::ifstream stream(file);
  return Json::parse(stream);
}

/// Ratios alone: times would say nothing on another machine. Parts that were not measured keep what
/// they have.
void save_baseline(const Options& options, const Json& rows) {
  Json baseline = read_baseline(options.baseline);
  baseline["processor"] = options.processor;
  Json& ratios = baseline.at("ratios");
  for (const Json& row : rows) ratios.erase(row.at("part").get<std::string>());
  for (const Json& row : rows) {
    // Three decimals are more than two runs have in common.
    ratios[row.at("part").get<std::string>()][row.at("name").get<std::string>()] =
        std::round(1000 * row.at("ratio").get<double>()) / 1000;
  }
  write_json(options.baseline, baseline);
  fmt::print(stderr, "baseline: {}\n", options.baseline);
}

/// The measured ratios, each with its baseline, 0 if there is none.
Json read_rows(const Options& options, const Json& baseline) {
  std::ifstream stream(options.measured);
  Json rows = Json::array();
  for (std::string line; std::getline(stream, line);) {
    Json row = Json::parse(line);
    const Json of_part =
        baseline.at("ratios").value(row.at("part").get<std::string>(), Json::object());
    row["baseline"] = of_part.value(row.at("name").get<std::string>(), 0.0);
    rows.push_back(row);
  }
  if (rows.empty()) throw std::runtime_error("nothing was measured");
  return rows;
}

int summarise(const Options& options) {
  const Json baseline = read_baseline(options.baseline);
  const Json rows = read_rows(options, baseline);
  write_json(Path(options.reports) / "bench.json",
             {{"sources", options.sources}, {"processor", options.processor}, {"ratios", rows}});
  if (options.saves_baseline) save_baseline(options, rows);

  const std::vector<BenchRow> read = read_results(options.reports, "").bench.value;
  const auto missed =
      std::count_if(read.begin(), read.end(), [](const BenchRow& row) { return !row.met(); });
  const auto regressed =
      std::count_if(read.begin(), read.end(), [](const BenchRow& row) { return row.regressed(); });
  std::string title = fmt::format("{} ratios measured on {}: ", read.size(), options.processor);
  title += missed == 0 ? "every bar is met" : fmt::format("{} BELOW THE BAR", missed);
  if (regressed > 0) title += fmt::format(", {} REGRESSED", regressed);
  const std::string processor = baseline.value("processor", "");
  if (!processor.empty() && processor != options.processor) {
    title += fmt::format(" (the baseline is from another processor: {})", processor);
  }
  fmt::print("{}", as_markdown(title, bench_sections(read), {}));
  return missed == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Exit status: 0 every bar is met, 1 not, 2 bad usage, 3 the environment failed.",
               "bench-summary");
  app.add_option("--measured", options.measured)->required()->check(CLI::ExistingFile);
  app.add_option("--baseline", options.baseline)->required();
  app.add_option("--reports", options.reports)->required()->check(CLI::ExistingDirectory);
  app.add_option("--sources", options.sources)->required();
  app.add_option("--processor", options.processor)->required();
  app.add_flag("--save-baseline", options.saves_baseline);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return summarise(options);
}

}  // namespace
}  // namespace meshparity::report

int main(int argc, char** argv) {
  try {
    return meshparity::report::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 3;
  }
}
