#include "ci/report/results.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace meshparity::report {
namespace {

using Json = nlohmann::json;
using Path = std::filesystem::path;

/// Adds what one element of parity.json says about one transport to the row of that name.
void add_parity(const Json& json, const std::string& name, std::vector<ParityRow>& rows) {
  auto row = std::find_if(rows.begin(), rows.end(),
                          [&](const ParityRow& candidate) { return candidate.name == name; });
  if (row == rows.end()) {
    rows.emplace_back();
    row = rows.end() - 1;
    row->name = name;
  }
  const auto transport = json.at("transport").get<std::string>();
  if (transport != "sim" && transport != "mpi") {
    throw std::runtime_error("unknown transport '" + transport + "'");
  }
  Sampled& sampled = transport == "sim" ? row->simulated : row->mpi;
  sampled.cases += json.at("cases").get<std::size_t>();
  sampled.bit_equal += json.at("bit_equal").get<std::size_t>();
  sampled.meshes += json.value("meshes", std::size_t{0});
  sampled.ranks_min = json.value("ranks_min", std::size_t{0});
  sampled.ranks_max = json.value("ranks_max", std::size_t{0});
  const auto native = json.value("native_cases", std::size_t{0});
  row->native_cases += native;
  row->native_within += json.value("native_within", native);
  row->native_worst_ratio =
      std::max(row->native_worst_ratio, json.value("native_worst_ratio", 0.0));
}

Resumed parse_resumed(const Json& json) {
  Resumed resumed;
  resumed.cases = json.at("cases").get<std::size_t>();
  resumed.bit_equal = json.at("bit_equal").get<std::size_t>();
  resumed.checkpoints =
      json.at("saved_gathered").get<std::size_t>() + json.at("saved_sharded").get<std::size_t>();
  resumed.most_pieces = json.at("most_pieces").get<std::size_t>();
  for (const Json& flaw : json.at("flaws")) {
    resumed.flaws.push_back({flaw.at("what").get<std::string>(),
                             flaw.at("tried").get<std::size_t>(),
                             flaw.at("seen").get<std::size_t>()});
  }
  return resumed;
}

Parity parse_parity(const Json& json) {
  Parity parity;
  for (const Json& element : json.at("strategies")) {
    add_parity(element, element.at("name").get<std::string>(), parity.strategies);
  }
  for (const Json& element : json.at("products")) {
    add_parity(element, element.at("axes").get<std::string>(), parity.products);
  }
  if (parity.strategies.empty()) throw std::runtime_error("'strategies' is empty");
  parity.seed = json.at("seed").get<std::string>();
  parity.seconds = json.at("seconds").get<double>();
  parity.simulated_per_minute = json.value("simulated_per_minute", 0.0);
  for (const Json& entry : json.at("distribution")) {
    parity.distribution.emplace_back(entry.at("what").get<std::string>(),
                                     entry.at("cases").get<std::size_t>());
  }
  parity.resumed = parse_resumed(json.at("resumed"));
  return parity;
}

/// The array `key` of `json`, each element parsed; an empty one proves nothing and is refused.
template <class Row>
std::vector<Row> parse_rows(const Json& json, const char* key, Row (*parse)(const Json&)) {
  std::vector<Row> rows;
  for (const Json& element : json.at(key)) rows.push_back(parse(element));
  if (rows.empty()) throw std::runtime_error(std::string("'") + key + "' is empty");
  return rows;
}

OracleRow oracle_row(const Json& json) {
  OracleRow row;
  row.recipe = json.at("name").get<std::string>();
  row.steps = json.at("steps").get<std::size_t>();
  row.whole_steps = json.at("whole_steps").get<std::size_t>();
  row.worst_ratio = json.at("worst_ratio").get<double>();
  row.worst_tensor = json.at("worst_tensor").get<std::string>();
  row.worst_step = json.at("worst_step").get<std::size_t>();
  row.worst_local_ratio = json.at("worst_local_ratio").get<double>();
  row.worst_local_what = json.at("worst_local_what").get<std::string>();
  row.bluntest_ratio = json.at("bluntest_ratio").get<double>();
  row.worst_update_ratio = json.at("worst_update_ratio").get<double>();
  return row;
}

GoldenRow golden_row(const Json& json) {
  GoldenRow row;
  row.recipe = json.at("name").get<std::string>();
  row.runs = json.at("runs").get<std::size_t>();
  row.same_bits = json.at("same_bits").get<std::size_t>();
  row.meshes = json.at("meshes").get<std::vector<std::string>>();
  row.transports = json.at("transports").get<std::vector<std::string>>();
  row.curve = json.at("curve").get<std::vector<std::array<double, 2>>>();
  return row;
}

MutantRow mutant_row(const Json& json) {
  MutantRow row;
  row.id = json.at("id").get<std::string>();
  row.title = json.at("title").get<std::string>();
  row.property = json.at("property").get<std::string>();
  row.killed = json.at("killed").get<bool>();
  row.killer = json.at("killer").get<std::string>();
  row.smallest_mesh = json.at("smallest_mesh").get<std::string>();
  row.seconds = json.at("seconds").get<double>();
  return row;
}

Coverage parse_coverage(const Json& json) {
  Coverage coverage;
  coverage.lines = json.at("lines").get<double>();
  coverage.branches = json.at("branches").get<double>();
  coverage.floor_lines = json.at("floor_lines").get<double>();
  coverage.floor_branches = json.at("floor_branches").get<double>();
  coverage.golden_lines = json.at("golden_lines").get<double>();
  coverage.floor_golden = json.at("floor_golden").get<double>();
  coverage.files = json.value("files", std::map<std::string, double>{});
  return coverage;
}

BenchRow bench_row(const Json& json) {
  BenchRow row;
  row.part = json.at("part").get<std::string>();
  row.name = json.at("name").get<std::string>();
  row.ratio = json.at("ratio").get<double>();
  row.bar = json.value("bar", 0.0);
  row.above = json.at("good").get<std::string>() == "above";
  row.baseline = json.value("baseline", 0.0);
  row.note = json.at("note").get<std::string>();
  return row;
}

PortabilityCheck portability_check(const Json& json) {
  PortabilityCheck check;
  check.name = json.at("name").get<std::string>();
  check.compared = json.at("compared").get<std::size_t>();
  check.same = json.at("same").get<std::size_t>();
  check.difference = json.at("difference").get<std::string>();
  check.sha256 = json.at("sha256").get<std::string>();
  return check;
}

EnvironmentRow environment_row(const Json& json) {
  // No checks: the program ended before them.
  const auto checks = [&](const char* key) {
    std::vector<PortabilityCheck> list;
    for (const Json& element : json.at(key)) list.push_back(portability_check(element));
    return list;
  };
  EnvironmentRow row;
  row.name = json.at("name").get<std::string>();
  row.compiler = json.at("compiler").get<std::string>();
  row.seconds = json.at("seconds").get<double>();
  row.goldens = checks("goldens");
  row.kernels = checks("kernels");
  row.functions = checks("functions");
  return row;
}

/// How the checks of one kind differ from those of another environment; empty if they do not.
std::string difference_between(const std::vector<PortabilityCheck>& checks,
                               const std::vector<PortabilityCheck>& first) {
  if (checks.empty() || checks.size() != first.size()) return "no results";
  for (std::size_t i = 0; i < checks.size(); ++i) {
    const PortabilityCheck& check = checks[i];
    if (check.compared == 0) return check.name + " compared nothing";
    if (check.same != check.compared) return check.difference;
    if (check.name != first[i].name || check.compared != first[i].compared ||
        check.sha256 != first[i].sha256) {
      return check.name + " gives other bits than in the first environment";
    }
  }
  return "";
}

template <class Value, class Parse>
Part<Value> read_part(const Path& file, const std::string& sources, Parse parse) {
  using State = typename Part<Value>::State;
  Part<Value> part;
  if (!std::filesystem::exists(file)) return part;
  try {
    std::ifstream stream(file);
    if (!stream) throw std::runtime_error("cannot be opened");
    const Json json = Json::parse(stream);
    if (!sources.empty() && json.value("sources", sources) != sources) {
      part.state = State::outdated;
      return part;
    }
    part.value = parse(json);
    part.state = State::read;
  } catch (const std::exception& error) {
    part.state = State::unreadable;
    part.problem = file.filename().string() + ": " + error.what();
  }
  return part;
}

}  // namespace

bool ParityRow::differs() const {
  return simulated.bit_equal != simulated.cases || mpi.bit_equal != mpi.cases ||
         native_within != native_cases || !(native_worst_ratio <= 1.0);
}

bool GoldenRow::ran() const {
  return runs > 0 && std::ranges::all_of(std::array{"sim", "mpi"}, [&](const char* transport) {
           return std::ranges::find(transports, transport) != transports.end();
         });
}

std::string EnvironmentRow::difference_from(const EnvironmentRow& first) const {
  for (const auto kind :
       {&EnvironmentRow::goldens, &EnvironmentRow::kernels, &EnvironmentRow::functions}) {
    std::string difference = difference_between(this->*kind, first.*kind);
    if (!difference.empty()) return difference;
  }
  return "";
}

bool Resumed::differs() const {
  const auto unseen = [](const Flaw& flaw) { return flaw.tried > 0 && flaw.seen == 0; };
  return bit_equal != cases || (!flaws.empty() && flaws.front().seen > 0) ||
         (!flaws.empty() && std::any_of(flaws.begin() + 1, flaws.end(), unseen));
}

std::size_t Parity::simulated_cases() const {
  std::size_t cases = 0;
  for (const ParityRow& row : strategies) cases += row.simulated.cases;
  return cases;
}

std::size_t Parity::mpi_cases() const {
  std::size_t cases = 0;
  for (const ParityRow& row : strategies) cases += row.mpi.cases;
  return cases;
}

double BenchRow::gain() const {
  if (baseline <= 0) return 0;
  return above ? ratio / baseline - 1 : baseline / ratio - 1;
}

Results read_results(const Path& folder, const std::string& sources) {
  const auto oracle = [](const Json& json) { return parse_rows(json, "recipes", oracle_row); };
  const auto golden = [](const Json& json) { return parse_rows(json, "recipes", golden_row); };
  const auto mutants = [](const Json& json) { return parse_rows(json, "mutants", mutant_row); };
  const auto bench = [](const Json& json) { return parse_rows(json, "ratios", bench_row); };
  const auto portability = [](const Json& json) {
    return parse_rows(json, "environments", environment_row);
  };
  Results results;
  results.parity = read_part<Parity>(folder / "parity.json", sources, parse_parity);
  results.oracle = read_part<std::vector<OracleRow>>(folder / "oracle.json", sources, oracle);
  results.golden = read_part<std::vector<GoldenRow>>(folder / "golden.json", sources, golden);
  results.mutants = read_part<std::vector<MutantRow>>(folder / "mutants.json", sources, mutants);
  results.coverage = read_part<Coverage>(folder / "coverage.json", sources, parse_coverage);
  results.bench = read_part<std::vector<BenchRow>>(folder / "bench.json", sources, bench);
  results.portability =
      read_part<std::vector<EnvironmentRow>>(folder / "portability.json", sources, portability);
  return results;
}

std::string axes_of(const std::string& mesh) {
  std::string axes;
  std::istringstream parts(mesh);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos || part.substr(equals + 1) == "1") continue;
    axes += (axes.empty() ? "" : " x ") + part.substr(0, equals);
  }
  return axes.empty() ? "one rank" : axes;
}

}  // namespace meshparity::report
