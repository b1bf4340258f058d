// meshparity-verify: the proof itself, on many random cases, and its results as JSON.

#include <malloc.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/jobs/exit_status.h"
#include "golden/jobs/program_start.h"
#include "model/error.h"
#include "model/numerics/premises.h"
#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/native_check.h"
#include "property_tests/proof/oracle_proof.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/parity_properties.h"
#include "property_tests/proof/proof_verdict.h"
#include "property_tests/proof/resume_check.h"
#include "property_tests/proof/resume_properties.h"

namespace meshparity {
namespace {

constexpr std::array kReports = {"parity.json", "oracle.json"};

struct Options {
  std::size_t cases = 10000;
  std::size_t native_cases = 1000;
  std::size_t mpi_cases = 120;
  std::size_t resume_cases = 2000;
  std::uint64_t seed = 20260101;
  std::string reports;
  std::string golden_dir{MESHPARITY_GOLDEN_DIR};
  std::string one_case;
  std::string one_resume_case;
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
  return difference ? kProofFailed : kSuccess;
}

int rerun_resumed(const Options& options) {
  const ResumeCase c = parse_resume_case(options.one_resume_case);
  const auto difference = difference_resumed(c, Question(c.legs.front().how));
  std::cout << (difference ? failure_text(c, *difference) : "bits equal") << "\n";
  return difference ? kProofFailed : kSuccess;
}

/// The oracle takes and returns matrices all the time: the memory stays here, so that the system
/// need not clear it again for each.
void keep_memory() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
  ::mallopt(M_TOP_PAD, 1 << 26);
#endif
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Enough recipes that all strategies together have this many cases.
Sample recipes_for(std::size_t cases, std::uint64_t seed) {
  const std::size_t each = strategies().size();
  return {(cases + each - 1) / each, seed};
}

constexpr const char* kSimulated = "every strategy on simulated meshes";
constexpr const char* kNative = "native reductions within the derived bound";
constexpr const char* kResumed = "runs that stop and go on";
constexpr const char* kOracle = "one rank against the float64 oracle";
constexpr const char* kOpenMpi = "every strategy under Open MPI";

/// The whole proof.
ProofVerdict prove(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  ProofVerdict verdict({kSimulated, kNative, kResumed, kOracle, kOpenMpi});
  // Simulated worlds keep one core busy, the oracle another.
  OracleProof oracle(options.golden_dir);
  auto judge = std::async(std::launch::async, [&oracle] { oracle.work(); });
  const Sample simulated = recipes_for(options.cases, options.seed);
  std::cout << "every strategy against one rank (seed " << options.seed
            << "), simulated: " << simulated.recipes << " random recipes ..." << std::endl;
  ParityTally tally;
  const bool equal = holds_simulated(simulated, tally);
  verdict.report(kSimulated, equal, tally.fewest_cases("sim"));
  const double per_minute = 60 * static_cast<double>(tally.cases("sim")) / seconds_since(begin);
  std::cout << "  " << std::llround(per_minute) << " cases/minute" << std::endl;
  const Sample native = recipes_for(options.native_cases, options.seed + 1);
  std::cout << "native reductions, simulated: " << native.recipes << " random recipes ..."
            << std::endl;
  const bool within = holds_natively(native, tally);
  verdict.report(kNative, within, tally.fewest_native_cases());
  const std::size_t runs = (options.resume_cases + kRunsOfARecipe - 1) / kRunsOfARecipe;
  std::cout << "runs that stop and go on on other meshes, simulated: " << runs
            << " random recipes ..." << std::endl;
  ResumeTally resumed;
  const bool goes_on = holds_resumed({runs, options.seed + 2}, resumed);
  verdict.report(kResumed, goes_on, std::min(resumed.cases, fewest_tried(resumed.flaws)));
  std::cout << resumed.text() << std::flush;
  oracle.work();
  judge.get();
  std::cout << "one rank against the float64 oracle\n" << oracle.text() << std::flush;
  verdict.report(kOracle, all_within_bounds(oracle.verdicts()), fewest_steps(oracle.verdicts()));
#ifdef MESHPARITY_WITH_MPI
  // Last, as mpirun wants the machine to itself.
  std::cout << "every strategy under Open MPI\n  " << options.mpi_cases << " random meshes ..."
            << std::endl;
  // The products are many, so most cases are theirs.
  std::vector<Strategy> dealt(4, Strategy::mesh);
  for (const StrategyEntry& entry : strategies()) dealt.push_back(entry.strategy);
  const bool equal_under_mpi = holds_under_mpi(dealt, options.mpi_cases, options.seed, tally);
  verdict.report(kOpenMpi, equal_under_mpi, tally.fewest_cases("mpi"));
#endif
  std::cout << tally.distribution_text() << std::flush;

  nlohmann::ordered_json json = tally.to_json();
  json["resumed"] = resumed.to_json();
  json["seed"] = std::to_string(options.seed);
  json["seconds"] = seconds_since(begin);
  json["simulated_per_minute"] = per_minute;
  if (!options.reports.empty()) {
    write_file(report_path(options, kReports[0]), json.dump(1) + "\n");
    write_file(report_path(options, kReports[1]), oracle.to_json().dump(1) + "\n");
  }
  return verdict;
}

int run(int argc, char** argv) {
  require_premises();
  keep_memory();
  CLI::App app("Proves that every strategy gives the bits of one rank, on random meshes.",
               "meshparity-verify");
  app.footer(
      "Exit status: 0 proven, 1 a difference was found, 2 bad usage or input, 3 the environment\n"
      "failed, 4 unverified: nothing differs, but a part was not run or judged nothing.");
  Options options;
  app.add_option("--cases", options.cases, "random simulated cases, dealt out to the strategies")
      ->capture_default_str();
  app.add_option("--native-cases", options.native_cases, "cases with native reductions")
      ->capture_default_str();
  app.add_option("--mpi-cases", options.mpi_cases, "random cases under mpirun")
      ->capture_default_str();
  app.add_option("--resume-cases", options.resume_cases, "runs that stop and go on")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of all random choices")->capture_default_str();
  app.add_option("--reports", options.reports, "folder for parity.json and oracle.json");
  app.add_option("--golden-dir", options.golden_dir, "where recipes/ and traces/ are");
  app.add_option("--case", options.one_case, "rerun just this case, as a failure printed it");
  app.add_option("--resume-case", options.one_resume_case, "rerun just this run, likewise");
  app.add_option("--transport", options.transport, "of --case")
      ->check(CLI::IsMember({"sim", "mpi"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kBadUsage;
  }
  if (!options.one_case.empty()) return rerun(options);
  if (!options.one_resume_case.empty()) return rerun_resumed(options);
  if (!options.reports.empty()) require_reports(options);
  // RapidCheck prints where its defaults come from; they are not used here.
  ::setenv("RC_PARAMS", ("seed=" + std::to_string(options.seed)).c_str(), 1);
  const ProofVerdict verdict = prove(options);
  std::cout << verdict.text() << std::flush;
  return verdict.status();
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
    return meshparity::kBadUsage;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return meshparity::kEnvironmentFailed;
  }
}
