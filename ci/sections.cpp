#include "ci/sections.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace meshparity::report {
namespace {

constexpr const char* kNothing = "-";

/// True if a mesh of these axes is trained by `name`, a strategy or a product.
bool belongs(const std::string& axes, const std::string& name) {
  const bool product = axes.find(" x ") != std::string::npos;
  return axes == name || "train_" + axes == name || (product && name == "train_mesh");
}

std::string golden_cell(const Results& results, const std::string& name) {
  if (!results.golden.present()) return kNothing;
  std::set<std::string> meshes;
  bool same = true;
  for (const GoldenRow& row : results.golden.value) {
    same = same && row.proven();
    for (const std::string& mesh : row.meshes) {
      if (belongs(axes_of(mesh), name)) meshes.insert(mesh);
    }
  }
  if (meshes.empty()) return kNothing;
  return fmt::format("{} mesh{}{}", meshes.size(), meshes.size() == 1 ? "" : "es",
                     same ? "" : " (see below)");
}

std::string mutants_cell(const Results& results, const std::string& name) {
  if (!results.mutants.present()) return kNothing;
  const auto& mutants = results.mutants.value;
  const auto caught = std::count_if(mutants.begin(), mutants.end(), [&](const MutantRow& mutant) {
    return mutant.killed && !mutant.smallest_mesh.empty() &&
           belongs(axes_of(mutant.smallest_mesh), name);
  });
  return caught > 0 ? fmt::format("{} caught", caught) : kNothing;
}

std::string coverage_cell(const Results& results, const std::string& name) {
  if (!results.coverage.present()) return kNothing;
  const auto& files = results.coverage.value.files;
  const auto file = files.find("parallel/" + name + ".cpp");
  return file == files.end() ? kNothing : fmt::format("{:.1f} %", file->second);
}

std::string ranks_cell(const Sampled& sampled) {
  if (sampled.ranks_max == 0) return kNothing;
  if (sampled.ranks_min == sampled.ranks_max) return fmt::format("{}", sampled.ranks_min);
  return fmt::format("{}-{}", sampled.ranks_min, sampled.ranks_max);
}

std::string count_cell(std::size_t count) {
  return count > 0 ? fmt::format("{}", count) : kNothing;
}

std::string problem_of(const std::string& state_problem, const std::string& verb, bool outdated) {
  if (!state_problem.empty()) return state_problem;
  return (outdated ? "measured on other sources; run again: " : "not run: ") + verb;
}

/// The section of a part without results.
template <class Value>
Section absent(const std::string& title, const Part<Value>& part, const std::string& verb,
               bool required) {
  using State = typename Part<Value>::State;
  Section section;
  section.title = title;
  section.summary = problem_of(part.problem, verb, part.state == State::outdated);
  section.failed = part.state == State::unreadable || required;
  return section;
}

/// What both tables of random cases begin with.
const std::vector<std::string> kParityHeaders = {"simulated", "meshes", "ranks",
                                                 "Open MPI",  "ranks",  "bit-equal"};

std::vector<std::string> parity_cells(const ParityRow& row) {
  const std::size_t differ =
      row.simulated.cases - row.simulated.bit_equal + row.mpi.cases - row.mpi.bit_equal;
  return {row.name,
          count_cell(row.simulated.cases),
          count_cell(row.simulated.meshes),
          ranks_cell(row.simulated),
          count_cell(row.mpi.cases),
          ranks_cell(row.mpi),
          differ == 0 ? "all" : fmt::format("{} DIFFER", differ)};
}

void append(std::vector<std::string>& cells, const std::vector<std::string>& more) {
  cells.insert(cells.end(), more.begin(), more.end());
}

std::string native_cell(const ParityRow& row) {
  if (row.native_within == row.native_cases) return count_cell(row.native_cases);
  return fmt::format("{} of {} OUTSIDE", row.native_cases - row.native_within, row.native_cases);
}

Section strategies_section(const Results& results) {
  const Parity& parity = results.parity.value;
  Section section;
  section.title = "Every strategy on random recipes and meshes";
  section.table.headers = {"strategy"};
  append(section.table.headers, kParityHeaders);
  append(section.table.headers, {"native", "error/bound", "golden", "mutants", "coverage"});
  for (const ParityRow& row : parity.strategies) {
    section.failed = section.failed || !row.proven();
    std::vector<std::string> cells = parity_cells(row);
    append(cells, {native_cell(row),
                   row.native_cases > 0 ? fmt::format("{:.3g}", row.native_worst_ratio) : kNothing,
                   golden_cell(results, row.name), mutants_cell(results, row.name),
                   coverage_cell(results, row.name)});
    section.table.rows.push_back(cells);
  }
  const std::string rate =
      parity.simulated_per_minute > 0
          ? fmt::format(", {:.0f} simulated cases/minute", parity.simulated_per_minute)
          : "";
  section.summary = fmt::format(
      "losses, gradients, replicas and parameters of {} simulated cases and {} under Open MPI, "
      "each against one rank ({:.0f} s{}, seed {}); with the transport's own float sums (native) "
      "the worst error against the derived bound",
      parity.simulated_cases(), parity.mpi_cases(), parity.seconds, rate, parity.seed);
  return section;
}

Section products_section(const Results& results) {
  Section section;
  section.title = "Every product";
  section.summary = "the cases of train_mesh by the axes longer than 1";
  section.table.headers = {"product"};
  append(section.table.headers, kParityHeaders);
  append(section.table.headers, {"golden", "mutants"});
  for (const ParityRow& row : results.parity.value.products) {
    section.failed = section.failed || !row.proven();
    std::vector<std::string> cells = parity_cells(row);
    append(cells, {golden_cell(results, row.name), mutants_cell(results, row.name)});
    section.table.rows.push_back(cells);
  }
  return section;
}

Section distribution_section(const Parity& parity) {
  Section section;
  section.title = "What the random cases reached";
  section.summary = fmt::format("{} situations", parity.distribution.size());
  section.brief = true;
  section.table.headers = {"situation", "cases"};
  for (const auto& [what, cases] : parity.distribution) {
    section.table.rows.push_back({what, fmt::format("{}", cases)});
    // A situation that no case reached is a hole in the proof.
    section.failed = section.failed || cases == 0;
    if (cases == 0) section.summary += fmt::format("; NOT REACHED: {}", what);
  }
  return section;
}

Section oracle_section(const std::vector<OracleRow>& rows) {
  Section section;
  section.title = "One rank against the float64 oracle";
  section.table.headers = {"recipe", "steps", "worst error/bound", "tensor", "step"};
  double worst = 0;
  for (const OracleRow& row : rows) {
    worst = std::max(worst, row.worst_ratio);
    section.failed = section.failed || !row.proven();
    section.table.rows.push_back({row.recipe, fmt::format("{}", row.steps),
                                  fmt::format("{:.3g}", row.worst_ratio), row.worst_tensor,
                                  fmt::format("{}", row.worst_step)});
  }
  section.summary = fmt::format(
      "losses, gradients and updates of every recorded step; the worst error is {:.3g} of the "
      "derived bound",
      worst);
  return section;
}

Section golden_section(const std::vector<GoldenRow>& rows) {
  Section section;
  section.title = "Recorded traces";
  section.table.headers = {"recipe", "runs", "same bits", "meshes", "transports"};
  std::size_t runs = 0;
  std::size_t same = 0;
  for (const GoldenRow& row : rows) {
    runs += row.runs;
    same += row.same_bits;
    section.failed = section.failed || !row.proven();
    section.table.rows.push_back({row.recipe, fmt::format("{}", row.runs),
                                  fmt::format("{}", row.same_bits),
                                  fmt::format("{}", fmt::join(row.meshes, "; ")),
                                  fmt::format("{}", fmt::join(row.transports, ", "))});
  }
  section.brief = !section.failed;
  section.summary = fmt::format("{} recipes, one trace each; {} of {} runs hit it bit for bit",
                                rows.size(), same, runs);
  return section;
}

Section mutants_section(const std::vector<MutantRow>& rows) {
  Section section;
  section.title = "Planted bugs";
  section.table.headers = {"id", "bug", "caught by", "smallest mesh", "seconds"};
  std::size_t killed = 0;
  for (const MutantRow& row : rows) {
    killed += row.killed ? 1 : 0;
    section.table.rows.push_back({row.id, row.title,
                                  row.killed ? row.killer : "SURVIVED " + row.property,
                                  row.smallest_mesh.empty() ? kNothing : row.smallest_mesh,
                                  fmt::format("{:.1f}", row.seconds)});
  }
  section.failed = killed != rows.size();
  section.brief = !section.failed;
  section.summary =
      fmt::format("{} of {} caught by the property named for it", killed, rows.size());
  return section;
}

Section coverage_section(const Coverage& coverage) {
  Section section;
  section.title = "Coverage of model, parallel and oracle";
  section.table.headers = {"", "covered", "floor"};
  section.table.rows = {{"lines", fmt::format("{:.1f} %", coverage.lines),
                         fmt::format("{:.0f} %", coverage.floor_lines)},
                        {"branches", fmt::format("{:.1f} %", coverage.branches),
                         fmt::format("{:.0f} %", coverage.floor_branches)}};
  section.failed = !coverage.proven();
  section.brief = true;
  section.summary =
      fmt::format("lines {:.1f} % (floor {:.0f} %), branches {:.1f} % (floor {:.0f} %)",
                  coverage.lines, coverage.floor_lines, coverage.branches, coverage.floor_branches);
  return section;
}

}  // namespace

std::vector<Section> sections_of(const Results& results, const std::vector<std::string>& required) {
  const auto need = [&](const char* part) {
    return std::find(required.begin(), required.end(), part) != required.end();
  };
  std::vector<Section> sections;
  if (results.parity.present()) {
    sections.push_back(strategies_section(results));
    sections.push_back(products_section(results));
    sections.push_back(distribution_section(results.parity.value));
  } else {
    sections.push_back(absent("Every strategy on random recipes and meshes", results.parity,
                              "./ci/verify", need("parity")));
  }
  sections.push_back(results.oracle.present()
                         ? oracle_section(results.oracle.value)
                         : absent("One rank against the float64 oracle", results.oracle,
                                  "./ci/verify", need("oracle")));
  sections.push_back(results.golden.present() ? golden_section(results.golden.value)
                                              : absent("Recorded traces", results.golden,
                                                       "./ci/verify", need("golden")));
  sections.push_back(results.mutants.present() ? mutants_section(results.mutants.value)
                                               : absent("Planted bugs", results.mutants,
                                                        "./ci/mutants", need("mutants")));
  sections.push_back(results.coverage.present()
                         ? coverage_section(results.coverage.value)
                         : absent("Coverage of model, parallel and oracle", results.coverage,
                                  "./ci/coverage", need("coverage")));
  if (results.bench.present()) {
    for (Section& section : bench_sections(results.bench.value)) {
      sections.push_back(std::move(section));
    }
  } else {
    sections.push_back(absent("Speed", results.bench, "./ci/bench", need("bench")));
  }
  return sections;
}

std::string headline(const Results& results, const std::vector<Section>& sections) {
  std::vector<std::string> failed;
  for (const Section& section : sections) {
    if (section.failed) failed.push_back(section.title);
  }
  if (!failed.empty()) return fmt::format("FAILED: {}", fmt::join(failed, "; "));
  if (!results.parity.present()) return "nothing failed, but the proof was not run: ./ci/verify";
  return fmt::format("{} random simulated cases and {} under Open MPI, all bit-equal to one rank",
                     results.parity.value.simulated_cases(), results.parity.value.mpi_cases());
}

}  // namespace meshparity::report
