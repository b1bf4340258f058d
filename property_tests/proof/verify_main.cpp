// meshparity-verify: the proof itself, on many random cases, and its results as JSON.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "golden/check/golden_recipe.h"
#include "golden/files/file_io.h"
#include "golden/jobs/program_start.h"
#include "model/error.h"
#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/native_check.h"
#include "property_tests/proof/oracle_observer.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/parity_properties.h"

namespace meshparity {
namespace {

constexpr std::array kReports = {"parity.json", "oracle.json"};

struct Options {
  std::size_t cases = 10000;
  std::size_t native_cases = 1000;
  std::size_t mpi_cases = 120;
  std::uint64_t seed = 20260101;
  std::string reports;
  std::string golden_dir{MESHPARITY_GOLDEN_DIR};
  std::string one_case;
  std::string transport = "sim";
};

std::string report_path(const Options& options, const char* name) {
  return (std::filesystem::path(options.reports) / name).string();
}

/// Makes the folder of the reports, so that a long proof does not end without them. Throws
/// UsageError if they could not be written.
void require_reports(const Options& options) {
  std::error_code error;
  std::filesystem::create_directories(options.reports, error);  // what fails here fails below, too
  for (const char* name : kReports) require_writable(report_path(options, name));
}

int rerun(const Options& options) {
  const ParityCase c = parse_case(options.one_case);
  std::optional<std::string> difference;
  if (c.how.reduction == Reduction::native) {
    double ratio = 0;
    difference = difference_from_oracle(c, Question(c), ratio);
  } else if (options.transport == "mpi") {
    if (const auto failure = failure_under_mpi({c})) difference = failure->difference;
  } else {
    difference = difference_simulated(c, Question(c));
  }
  std::cout << (difference ? failure_text(c, options.transport, *difference) : "bits equal")
            << "\n";
  return difference ? 1 : 0;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Enough recipes that all strategies together have this many cases.
Sample recipes_for(std::size_t cases, std::uint64_t seed) {
  const std::size_t each = strategies().size();
  return {(cases + each - 1) / each, seed};
}

/// One rank on every golden recipe, held to the oracle: recipe by recipe, by whoever has time.
class OracleProof {
 public:
  explicit OracleProof(const std::string& golden_dir)
      : goldens_(golden_recipes(golden_dir, "")), verdicts_(goldens_.size()) {}

  /// Judges until nothing is left to begin. Prints nothing; several threads may do this.
  void work() {
    for (std::size_t i = next_++; i < goldens_.size(); i = next_++) {
      const GoldenRecipe& golden = goldens_[i];
      const Model model = model_of(golden.recipe, golden.corpus.vocabulary());
      verdicts_[i] = hold_to_oracle(golden.recipe, model, golden.corpus);
    }
  }

  bool proven() const {
    return std::ranges::none_of(
        verdicts_, [](const OracleVerdict& v) { return v.first_difference.has_value(); });
  }
  std::string text() const;
  nlohmann::ordered_json to_json() const;

 private:
  std::vector<GoldenRecipe> goldens_;
  std::vector<OracleVerdict> verdicts_;
  std::atomic<std::size_t> next_{0};
};

std::string OracleProof::text() const {
  std::ostringstream text;
  for (std::size_t i = 0; i < goldens_.size(); ++i) {
    const OracleVerdict& verdict = verdicts_[i];
    text << "  " << goldens_[i].name << ": " << verdict.steps << " steps, worst error / bound of "
         << "blocks alone " << verdict.worst_local_ratio << " (" << verdict.worst_local_what
         << "), of updates " << verdict.worst_update_ratio << ", of " << verdict.whole_steps
         << " steps end to end ";
    if (verdict.whole_steps == 0) {
      text << "none";
    } else {
      text << verdict.worst_ratio << " (" << verdict.worst_tensor << ", step " << verdict.worst_step
           << ")";
    }
    text << "; least of all " << verdict.bluntest_ratio << " (" << verdict.bluntest_what << ")\n";
    if (verdict.first_difference) text << "  " << *verdict.first_difference << "\n";
  }
  return text.str();
}

nlohmann::ordered_json OracleProof::to_json() const {
  nlohmann::ordered_json json = {{"recipes", nlohmann::json::array()}};
  for (std::size_t i = 0; i < goldens_.size(); ++i) {
    const OracleVerdict& verdict = verdicts_[i];
    json["recipes"].push_back({{"name", goldens_[i].name},
                               {"steps", verdict.steps},
                               {"whole_steps", verdict.whole_steps},
                               {"worst_ratio", verdict.worst_ratio},
                               {"worst_local_ratio", verdict.worst_local_ratio},
                               {"worst_local_what", verdict.worst_local_what},
                               {"bluntest_ratio", verdict.bluntest_ratio},
                               {"bluntest_what", verdict.bluntest_what},
                               {"worst_update_ratio", verdict.worst_update_ratio},
                               {"worst_tensor", verdict.worst_tensor},
                               {"worst_step", verdict.worst_step}});
  }
  return json;
}

/// The whole proof. True if all of it holds.
bool prove(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  // Simulated worlds keep one core busy, the oracle another.
  OracleProof oracle(options.golden_dir);
  auto judge = std::async(std::launch::async, [&oracle] { oracle.work(); });
  const Sample simulated = recipes_for(options.cases, options.seed);
  std::cout << "every strategy against one rank (seed " << options.seed
            << "), simulated: " << simulated.recipes << " random recipes ..." << std::endl;
  ParityTally tally;
  bool proven = holds_simulated(simulated, tally);
  const double per_minute = 60 * static_cast<double>(tally.cases("sim")) / seconds_since(begin);
  std::cout << "  " << std::llround(per_minute) << " cases/minute" << std::endl;
  const Sample native = recipes_for(options.native_cases, options.seed + 1);
  std::cout << "native reductions, simulated: " << native.recipes << " random recipes ..."
            << std::endl;
  proven = holds_natively(native, tally) && proven;
  oracle.work();
  judge.get();
  std::cout << "one rank against the float64 oracle\n" << oracle.text() << std::flush;
  proven = proven && oracle.proven();
#ifdef MESHPARITY_WITH_MPI
  // Last, as mpirun wants the machine to itself.
  std::cout << "every strategy under Open MPI\n  " << options.mpi_cases << " random meshes ..."
            << std::endl;
  // The products are many, so most cases are theirs.
  std::vector<Strategy> dealt(4, Strategy::mesh);
  for (const StrategyEntry& entry : strategies()) dealt.push_back(entry.strategy);
  proven = holds_under_mpi(dealt, options.mpi_cases, options.seed, tally) && proven;
#endif
  std::cout << tally.distribution_text() << std::flush;

  nlohmann::ordered_json json = tally.to_json();
  json["seed"] = std::to_string(options.seed);
  json["seconds"] = seconds_since(begin);
  json["simulated_per_minute"] = per_minute;
  if (!options.reports.empty()) {
    write_file(report_path(options, kReports[0]), json.dump(1) + "\n");
    write_file(report_path(options, kReports[1]), oracle.to_json().dump(1) + "\n");
  }
  return proven;
}

int run(int argc, char** argv) {
  CLI::App app("Proves that every strategy gives the bits of one rank, on random meshes.",
               "meshparity-verify");
  Options options;
  app.add_option("--cases", options.cases, "random simulated cases, dealt out to the strategies")
      ->capture_default_str();
  app.add_option("--native-cases", options.native_cases, "cases with native reductions")
      ->capture_default_str();
  app.add_option("--mpi-cases", options.mpi_cases, "random cases under mpirun")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of all random choices")->capture_default_str();
  app.add_option("--reports", options.reports, "folder for parity.json and oracle.json");
  app.add_option("--golden-dir", options.golden_dir, "where recipes/ and traces/ are");
  app.add_option("--case", options.one_case, "rerun just this case, as a failure printed it");
  app.add_option("--transport", options.transport, "of --case")
      ->check(CLI::IsMember({"sim", "mpi"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!options.one_case.empty()) return rerun(options);
  if (!options.reports.empty()) require_reports(options);
  // RapidCheck prints where its defaults come from; they are not used here.
  ::setenv("RC_PARAMS", ("seed=" + std::to_string(options.seed)).c_str(), 1);
  return prove(options) ? 0 : 1;
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  meshparity::start_program();
  try {
    const int status = meshparity::run(argc, argv);
    if (!std::cout.flush()) throw meshparity::EnvironmentError("standard output is not writable");
    return status;
  } catch (const meshparity::UsageError& error) {
    std::cerr << "error: " << error.what() << "\n";
    if (!error.hint().empty()) std::cerr << "try: " << error.hint() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 3;
  }
}
