#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "ci/report/sections.h"

namespace meshparity::report {
namespace {

/// What the ratios of a part compare.
std::string title_of(const std::string& part) {
  const std::map<std::string, std::string> titles = {
      {"products", "matrix products against the best peer, one core"},
      {"tree", "the canonical tree against one chain"},
      {"peak", "matrix products against a core's FMA peak"},
      {"trainers", "training steps against PyTorch, one thread"},
      {"scaling", "training steps of a mesh against one rank"},
      {"reductions", "time of training steps, canonical / native"},
      {"collectives", "time of reductions, canonical / native"},
  };
  const auto title = titles.find(part);
  return "Speed: " + (title == titles.end() ? part : title->second);
}

std::vector<std::string> cells_of(const BenchRow& row) {
  const bool judged = row.bar > 0;
  return {row.name,
          fmt::format("{:.3f}", row.ratio),
          judged ? fmt::format("{} {:.2f}", row.above ? ">=" : "<=", row.bar) : "",
          !judged ? "" : (row.met() ? "pass" : "FAIL"),
          row.baseline > 0
              ? fmt::format("{:+.1f} %{}", 100 * row.gain(), row.regressed() ? " REGRESSED" : "")
              : "",
          row.note};
}

Section section_of(const std::string& part, const std::vector<BenchRow>& rows) {
  Section section;
  section.title = title_of(part);
  section.brief = true;
  section.table.headers = {"", "ratio", "bar", "", "gain on baseline", "measured"};
  std::size_t bars = 0;
  std::size_t met = 0;
  std::size_t regressed = 0;
  for (const BenchRow& row : rows) {
    if (row.part != part) continue;
    section.table.rows.push_back(cells_of(row));
    bars += row.bar > 0 ? 1 : 0;
    met += row.bar > 0 && row.met() ? 1 : 0;
    regressed += row.regressed() ? 1 : 0;
  }
  section.summary = fmt::format("{} of {} bars met", met, bars);
  if (regressed > 0) section.summary += fmt::format(", {} REGRESSED", regressed);
  return section;
}

}  // namespace

std::vector<Section> bench_sections(const std::vector<BenchRow>& rows) {
  std::vector<std::string> parts;
  for (const BenchRow& row : rows) {
    if (std::find(parts.begin(), parts.end(), row.part) == parts.end()) parts.push_back(row.part);
  }
  std::vector<Section> sections;
  for (const std::string& part : parts) sections.push_back(section_of(part, rows));
  return sections;
}

}  // namespace meshparity::report
