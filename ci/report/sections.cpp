#include "ci/report/sections.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace meshparity::report {
namespace {

constexpr const char* kNothing = "-";
constexpr const char* kPortabilityTitle =
    "Other compilers, options, instruction sets and processors";

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
    same = same && !row.differs();
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
  section.unverified = part.state == State::unreadable || required;
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

/// What of a strategy was not run or not judged, in words.
std::string gaps_of(const ParityRow& row) {
  std::string gaps;
  const auto add = [&](bool is_gap, const char* what) {
    if (is_gap) gaps += fmt::format("; NOT JUDGED: {} {}", row.name, what);
  };
  add(row.simulated.cases == 0, "on simulated meshes");
  add(row.mpi.cases == 0, "under Open MPI");
  // Rounding errors are never all 0.
  add(row.native_cases == 0 || row.native_worst_ratio == 0, "with native reductions");
  return gaps;
}

Section strategies_section(const Results& results) {
  const Parity& parity = results.parity.value;
  Section section;
  section.title = "Every strategy on random recipes and meshes";
  section.table.headers = {"strategy"};
  append(section.table.headers, kParityHeaders);
  append(section.table.headers, {"native", "error/bound", "golden", "mutants", "coverage"});
  std::string gaps;
  for (const ParityRow& row : parity.strategies) {
    section.failed = section.failed || row.differs();
    gaps += gaps_of(row);
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
      "the worst error against the derived bound{}",
      parity.simulated_cases(), parity.mpi_cases(), parity.seconds, rate, parity.seed, gaps);
  section.unverified = !gaps.empty();
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
    section.failed = section.failed || row.differs();
    section.unverified = section.unverified || row.simulated.cases + row.mpi.cases == 0;
    std::vector<std::string> cells = parity_cells(row);
    append(cells, {golden_cell(results, row.name), mutants_cell(results, row.name)});
    section.table.rows.push_back(cells);
  }
  return section;
}

Section resumed_section(const Resumed& resumed) {
  Section section;
  section.title = "Runs that stop and go on on other meshes";
  section.summary = fmt::format(
      "{} of {} simulated runs, from {} checkpoints of up to {} ranks, equal one rank that did not "
      "stop; whatever is wrong with the state that a run goes on from is seen",
      resumed.bit_equal, resumed.cases, resumed.checkpoints, resumed.most_pieces);
  section.table.headers = {"wrong", "tried", "seen in the next step"};
  for (const Resumed::Flaw& flaw : resumed.flaws) {
    section.table.rows.push_back(
        {flaw.what, fmt::format("{}", flaw.tried), fmt::format("{}", flaw.seen)});
    if (flaw.tried == 0) section.summary += fmt::format("; NOT TRIED: {}", flaw.what);
    section.unverified = section.unverified || flaw.tried == 0;
  }
  section.unverified = section.unverified || resumed.cases == 0 || resumed.flaws.empty();
  section.failed = resumed.differs();
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
    section.unverified = section.unverified || cases == 0;
    if (cases == 0) section.summary += fmt::format("; NOT REACHED: {}", what);
  }
  return section;
}

Section oracle_section(const std::vector<OracleRow>& rows) {
  Section section;
  section.title = "One rank against the float64 oracle";
  section.table.headers = {"recipe", "steps",  "blocks alone", "worst of",    "end to end",
                           "worst",  "tensor", "step",         "least of all"};
  double worst = 0;
  for (const OracleRow& row : rows) {
    worst = std::max(worst, row.worst_ratio);
    section.failed = section.failed || row.differs();
    section.unverified = section.unverified || row.steps == 0;
    const bool whole = row.whole_steps > 0;
    section.table.rows.push_back(
        {row.recipe, fmt::format("{}", row.steps), fmt::format("{:.3g}", row.worst_local_ratio),
         row.worst_local_what, fmt::format("{} steps", row.whole_steps),
         whole ? fmt::format("{:.3g}", row.worst_ratio) : kNothing,
         whole ? row.worst_tensor : kNothing, whole ? fmt::format("{}", row.worst_step) : kNothing,
         fmt::format("{:.3g}", row.bluntest_ratio)});
  }
  section.summary = fmt::format(
      "in every step each block alone from its own boundaries, and updates from their own "
      "gradients; where models are small, losses and gradients end to end: there the worst error "
      "is {:.3g} of the derived bound",
      worst);
  return section;
}

Section golden_section(const std::vector<GoldenRow>& rows) {
  Section section;
  section.title = "Recorded traces";
  section.table.headers = {"recipe", "runs", "same bits", "meshes", "transports"};
  std::size_t runs = 0;
  std::size_t same = 0;
  std::string gaps;
  for (const GoldenRow& row : rows) {
    runs += row.runs;
    same += row.same_bits;
    section.failed = section.failed || row.differs();
    if (!row.ran()) gaps += fmt::format("; NOT RUN on both transports: {}", row.recipe);
    section.table.rows.push_back({row.recipe, fmt::format("{}", row.runs),
                                  fmt::format("{}", row.same_bits),
                                  fmt::format("{}", fmt::join(row.meshes, "; ")),
                                  fmt::format("{}", fmt::join(row.transports, ", "))});
  }
  section.unverified = !gaps.empty();
  section.brief = !section.failed;
  section.summary = fmt::format("{} recipes, one trace each; {} of {} runs hit it bit for bit{}",
                                rows.size(), same, runs, gaps);
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
  section.title = "Coverage";
  section.table.headers = {"", "covered", "floor"};
  const auto row = [&](const char* what, double covered, double floor) {
    section.table.rows.push_back(
        {what, fmt::format("{:.1f} %", covered), fmt::format("{:.0f} %", floor)});
  };
  row("model, parallel, oracle: lines", coverage.lines, coverage.floor_lines);
  row("model, parallel, oracle: branches", coverage.branches, coverage.floor_branches);
  row("golden: lines", coverage.golden_lines, coverage.floor_golden);
  section.failed = !coverage.proven();
  section.brief = true;
  section.summary = fmt::format(
      "of model, parallel and oracle lines {:.1f} % (floor {:.0f} %), branches {:.1f} % (floor "
      "{:.0f} %); of golden lines {:.1f} % (floor {:.0f} %)",
      coverage.lines, coverage.floor_lines, coverage.branches, coverage.floor_branches,
      coverage.golden_lines, coverage.floor_golden);
  return section;
}

/// "12 of 12", over all checks of a kind.
std::string checks_cell(const std::vector<PortabilityCheck>& checks) {
  std::size_t compared = 0;
  std::size_t same = 0;
  for (const PortabilityCheck& check : checks) {
    compared += check.compared;
    same += check.same;
  }
  return compared > 0 ? fmt::format("{} of {}", same, compared) : kNothing;
}

/// How many of the SHA-256 over all results are those of the first environment.
std::string hashes_cell(const EnvironmentRow& row, const EnvironmentRow& first) {
  std::size_t hashes = 0;
  std::size_t same = 0;
  for (const auto kind :
       {&EnvironmentRow::goldens, &EnvironmentRow::kernels, &EnvironmentRow::functions}) {
    const auto& of_first = first.*kind;
    const auto& checks = row.*kind;
    hashes += of_first.size();
    for (std::size_t i = 0; i < std::min(checks.size(), of_first.size()); ++i) {
      same += checks[i].sha256 == of_first[i].sha256 ? 1 : 0;
    }
  }
  return fmt::format("{} of {}", same, hashes);
}

Section portability_section(const std::vector<EnvironmentRow>& rows) {
  Section section;
  section.title = kPortabilityTitle;
  section.table.headers = {"environment",      "compiler",         "golden runs", "kernel elements",
                           "function results", "SHA-256 as first", "seconds",     "same bits"};
  std::size_t same = 0;
  for (const EnvironmentRow& row : rows) {
    const std::string difference = row.difference_from(rows.front());
    same += difference.empty() ? 1 : 0;
    section.table.rows.push_back(
        {row.name, row.compiler.empty() ? kNothing : row.compiler, checks_cell(row.goldens),
         checks_cell(row.kernels), checks_cell(row.functions), hashes_cell(row, rows.front()),
         fmt::format("{:.0f}", row.seconds), difference.empty() ? "yes" : "NO: " + difference});
  }
  section.failed = same != rows.size();
  section.summary = fmt::format(
      "golden traces on one rank and on simulated meshes, kernels against their definition, exp, "
      "log, tanh and erf; {} of {} environments have the same bits",
      same, rows.size());
  return section;
}

}  // namespace

std::vector<Section> sections_of(const Results& results, const std::vector<std::string>& required,
                                 const std::vector<std::string>& only) {
  std::vector<Section> sections;
  const auto names = [](const std::vector<std::string>& list, const std::string& part) {
    return std::find(list.begin(), list.end(), part) != list.end();
  };
  // A part's own sections, or the one that says why there are none.
  const auto add = [&](const std::string& part, const auto& result, const char* title,
                       const char* verb, const auto& sections_of_part) {
    if (!only.empty() && !names(only, part)) return;
    const auto made = result.present()
                          ? sections_of_part()
                          : std::vector{absent(title, result, verb, names(required, part))};
    sections.insert(sections.end(), made.begin(), made.end());
  };
  add("parity", results.parity, "Every strategy on random recipes and meshes", "./ci/verify", [&] {
    return std::vector{strategies_section(results), products_section(results),
                       resumed_section(results.parity.value.resumed),
                       distribution_section(results.parity.value)};
  });
  add("oracle", results.oracle, "One rank against the float64 oracle", "./ci/verify",
      [&] { return std::vector{oracle_section(results.oracle.value)}; });
  add("golden", results.golden, "Recorded traces", "./ci/verify",
      [&] { return std::vector{golden_section(results.golden.value)}; });
  add("mutants", results.mutants, "Planted bugs", "./ci/mutants",
      [&] { return std::vector{mutants_section(results.mutants.value)}; });
  add("coverage", results.coverage, "Coverage", "./ci/coverage",
      [&] { return std::vector{coverage_section(results.coverage.value)}; });
  add("portability", results.portability, kPortabilityTitle, "./ci/portability",
      [&] { return std::vector{portability_section(results.portability.value)}; });
  add("bench", results.bench, "Speed", "./ci/bench",
      [&] { return bench_sections(results.bench.value); });
  return sections;
}

int status_of(const std::vector<Section>& sections) {
  if (std::ranges::any_of(sections, &Section::failed)) return 1;
  return std::ranges::any_of(sections, &Section::unverified) ? 4 : 0;
}

std::string headline(const Results& results, const std::vector<Section>& sections) {
  for (const std::string verdict : {"FAILED", "UNVERIFIED"}) {
    std::vector<std::string> titles;
    for (const Section& section : sections) {
      if (section.verdict() == verdict) titles.push_back(section.title);
    }
    if (!titles.empty()) return fmt::format("{}: {}", verdict, fmt::join(titles, "; "));
  }
  if (!results.parity.present()) return "nothing failed, but the proof was not run: ./ci/verify";
  return fmt::format("{} random simulated cases and {} under Open MPI, all bit-equal to one rank",
                     results.parity.value.simulated_cases(), results.parity.value.mpi_cases());
}

}  // namespace meshparity::report
