// meshparity-verify: the proof itself, on many random cases, and its results as JSON.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/golden_recipe.h"
#include "model/error.h"
#include "property_tests/mpi_job.h"
#include "property_tests/oracle_observer.h"
#include "property_tests/parity_check.h"
#include "property_tests/parity_properties.h"

namespace meshparity {
namespace {

struct Options {
  std::size_t cases = 2250;
  std::size_t native_cases = 150;
  std::size_t mpi_cases = 99;
  std::uint64_t seed = 20260101;
  std::string reports;
  std::string golden_dir{MESHPARITY_GOLDEN_DIR};
  std::string one_case;
  std::string transport = "sim";
};

void write_json(const std::filesystem::path& path, const nlohmann::ordered_json& json) {
  std::ofstream file(path);
  file << json.dump(1) << "\n";
  if (!file.flush()) throw EnvironmentError("cannot write " + path.string());
}

int rerun(const Options& options) {
  const ParityCase c = parse_case(options.one_case);
  std::optional<std::string> difference;
  if (c.how.reduction == Reduction::native) {
    double ratio = 0;
    difference = difference_from_oracle(c, ratio);
  } else if (options.transport == "mpi") {
    if (const auto failure = failure_under_mpi({c})) difference = failure->difference;
  } else {
    difference = difference_simulated(c);
  }
  std::cout << (difference ? failure_text(c, options.transport, *difference) : "bits equal")
            << "\n";
  return difference ? 1 : 0;
}

bool prove_parity(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  ParityTally tally;
  bool proven = true;
  const std::size_t each = (options.cases + kTrainers.size() - 1) / kTrainers.size();
  const std::size_t native_each = (options.native_cases + kTrainers.size() - 1) / kTrainers.size();
  for (const char* trainer : kTrainers) {
    std::cout << "  " << trainer << ": " << each << " random meshes, simulated ..." << std::endl;
    proven = holds_simulated(trainer, {each, options.seed}, tally) && proven;
  }
  std::cout << "  native reductions, " << native_each << " each ..." << std::endl;
  for (const char* trainer : kTrainers) {
    proven = holds_natively(trainer, {native_each, options.seed}, tally) && proven;
  }
#ifdef MESHPARITY_WITH_MPI
  std::cout << "  " << options.mpi_cases << " random meshes under Open MPI ..." << std::endl;
  // The products are many, so most cases are theirs.
  std::vector<std::string> trainers(kTrainers.begin(), kTrainers.end());
  trainers.insert(trainers.end(), 4, "train_mesh");
  proven = holds_under_mpi(trainers, {options.mpi_cases, options.seed}, tally) && proven;
#endif
  std::cout << tally.distribution_text();

  nlohmann::ordered_json json = tally.to_json();
  json["seed"] = std::to_string(options.seed);
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!options.reports.empty()) {
    write_json(std::filesystem::path(options.reports) / "parity.json", json);
  }
  return proven;
}

bool prove_oracle(const Options& options) {
  bool proven = true;
  nlohmann::ordered_json json = {{"recipes", nlohmann::json::array()}};
  for (const GoldenRecipe& golden : golden_recipes(options.golden_dir, "")) {
    const OracleVerdict verdict = hold_to_oracle(golden.recipe, golden.corpus);
    proven = proven && !verdict.first_difference;
    std::cout << "  " << golden.name << ": " << verdict.steps << " steps, worst error / bound "
              << verdict.worst_ratio << " (" << verdict.worst_tensor << ", step "
              << verdict.worst_step << "), of updates " << verdict.worst_update_ratio << std::endl;
    if (verdict.first_difference) std::cout << "  " << *verdict.first_difference << "\n";
    json["recipes"].push_back({{"name", golden.name},
                               {"steps", verdict.steps},
                               {"worst_ratio", verdict.worst_ratio},
                               {"worst_update_ratio", verdict.worst_update_ratio},
                               {"worst_tensor", verdict.worst_tensor},
                               {"worst_step", verdict.worst_step}});
  }
  if (!options.reports.empty()) {
    write_json(std::filesystem::path(options.reports) / "oracle.json", json);
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
  // RapidCheck prints where its defaults come from; they are not used here.
  ::setenv("RC_PARAMS", ("seed=" + std::to_string(options.seed)).c_str(), 1);
  std::cout << "every strategy against one rank (seed " << options.seed << ")" << std::endl;
  const bool parity = prove_parity(options);
  std::cout << "one rank against the float64 oracle" << std::endl;
  const bool oracle = prove_oracle(options);
  return parity && oracle ? 0 : 1;
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  try {
    return meshparity::run(argc, argv);
  } catch (const meshparity::UsageError& error) {
    std::cerr << "error: " << error.what() << "\n";
    if (!error.hint().empty()) std::cerr << "try: " << error.hint() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 3;
  }
}
