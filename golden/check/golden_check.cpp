#include "golden/check/golden_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <future>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "golden/check/facts.h"
#include "golden/files/file_io.h"
#include "golden/jobs/child_process.h"
#include "golden/jobs/exit_status.h"
#include "golden/jobs/mpirun.h"
#include "golden/jobs/temporary_folder.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kMpiDeadline{60};

/// Of a simulated world: any seed, but not the same for all.
std::uint64_t sim_seed(const GoldenCase& run) { return run.how.mesh.size(); }

/// What meshparity-train is told to train the case's mesh, of all steps.
std::vector<std::string> train_arguments(const GoldenRecipe& golden, const GoldenCase& run) {
  std::vector<std::string> arguments = {"--recipe=" + golden.recipe_path,
                                        "--trainer=" + std::string(run.trainer_name())};
  if (!run.strategy) return arguments;
  arguments.insert(arguments.end(),
                   {"--transport=" + run.transport, "--mesh=" + to_string(run.how.mesh),
                    "--microbatches=" + std::to_string(run.how.microbatches),
                    "--schedule=" + to_string(run.how.schedule)});
  if (run.transport == "sim") {
    arguments.push_back("--sim-seed=" + std::to_string(sim_seed(run)));
  }
  return arguments;
}

/// The commands that show a person this case's difference, over all steps.
std::string rerun_line(const GoldenRecipe& golden, const GoldenCase& run) {
  std::vector<std::string> train = {"build/bin/meshparity-train"};
  for (std::string& argument : train_arguments(golden, run)) train.push_back(std::move(argument));
  train.emplace_back("--trace=rerun.trace");
  if (run.transport == "mpi") train = mpirun_command(run.how.mesh.size(), train);
  return fmt::format("{} && build/bin/meshparity-diff {} rerun.trace", fmt::join(train, " "),
                     golden.trace_path);
}

Trace simulated_trace(const GoldenRecipe& golden, const GoldenCase& run) {
  return traced(golden, run.steps, 1, [&](TrainingJob job, const TrainingSinks& sinks) {
    job.how = run.how;
    job.strategy = run.strategy;
    train_simulated(job, sinks, sim_seed(run));
  });
}

/// Starts a real mpirun job. Throws std::runtime_error if it fails, hangs or writes no trace,
/// EnvironmentError if it says that its machine failed.
Trace mpi_trace(const GoldenRecipe& golden, const GoldenCase& run) {
  const TemporaryFolder folder;
  const std::string trace_path = folder.file("run.trace");
  std::vector<std::string> program = {(fs::path(program_folder()) / "meshparity-train").string(),
                                      "--quiet", "--stop-after=" + std::to_string(run.steps),
                                      "--trace=" + trace_path};
  for (std::string& argument : train_arguments(golden, run)) program.push_back(std::move(argument));
  const auto command = mpirun_command(run.how.mesh.size(), program);
  const ChildResult child = run_child(command, kMpiDeadline);
  if (child.timed_out) {
    throw std::runtime_error(
        fmt::format("mpirun did not end within {} s: {}", kMpiDeadline.count(), child.errors));
  }
  const std::string end =
      fmt::format("mpirun ended with status {}: {}", child.status, child.errors);
  if (child.status == kEnvironmentFailed) throw EnvironmentError(end);
  if (child.status != 0) throw std::runtime_error(end);
  return load_trace(trace_path);
}

Trace trace_of(const GoldenRecipe& golden, const GoldenCase& run) {
  if (run.transport == "sim") return simulated_trace(golden, run);
  if (run.transport == "mpi") return mpi_trace(golden, run);
  return traced(golden, run.steps, 1, train_alone);
}

void print_heading() {
  fmt::print("{:<12} {:<24} {:>5}  {:<9} {:<12} {:<8} {:>12} {:>5}  {}\n", "recipe", "mesh",
             "ranks", "transport", "trainer", "schedule", "microbatches", "steps", "same bits");
}

std::string outcome_of(const GoldenResult& result) {
  if (result.same_bits()) return "yes";
  return result.not_run.empty() ? "NO: " + result.difference : "not run: " + result.not_run;
}

void print_row(const GoldenRecipe& golden, const GoldenResult& result) {
  const Parallelism& how = result.run.how;
  fmt::print("{:<12} {:<24} {:>5}  {:<9} {:<12} {:<8} {:>12} {:>5}  {}\n", golden.name,
             to_string(how.mesh), how.mesh.size(), result.run.transport, result.run.trainer_name(),
             how.mesh[Axis::pp] > 1 ? to_string(how.schedule) : "-", how.microbatches,
             result.run.steps, outcome_of(result));
  std::fflush(stdout);
}

/// The cases of all recipes, checked on all cores at once: first those within this process, as
/// ranks of mpirun that wait for each other keep all cores busy.
class Checks {
 public:
  /// All of them, before the start.
  void add(const GoldenRecipe& golden, const Trace& expected, const GoldenCase& run) {
    auto& queue = run.transport == "mpi" ? jobs_ : here_;
    auto& check =
        queue.emplace_back([&golden, &expected, run] { return check_case(golden, expected, run); });
    results_.push_back(check.get_future());
  }

  void start() {
    std::ranges::move(jobs_, std::back_inserter(here_));
    for (unsigned w = 0; w < std::max(1U, std::thread::hardware_concurrency()); ++w) {
      workers_.push_back(std::async(std::launch::async, [this] {
        for (std::size_t i = next_++; i < here_.size(); i = next_++) here_[i]();
      }));
    }
  }

  /// Of the case that was added as number `i`, as soon as it is there.
  GoldenResult result(std::size_t i) { return results_[i].get(); }

 private:
  using Check = std::packaged_task<GoldenResult()>;

  std::vector<Check> here_;  // and all of them, from the start on
  std::vector<Check> jobs_;
  std::vector<std::future<GoldenResult>> results_;
  std::atomic<std::size_t> next_{0};
  std::vector<std::future<void>> workers_;  // the first to be destroyed: it waits for them
};

/// Trains a recipe whose corpus is the facts, and asks the model all of them.
std::optional<RightAnswers> answers_of(const GoldenRecipe& golden) {
  if (!is_facts_corpus(golden.corpus_sha256)) return std::nullopt;
  const Model model = model_of(golden.recipe, golden.corpus.vocabulary());
  const InitialParameters initial(golden.recipe.seed);
  std::vector<std::vector<float>> values;
  TrainingSinks sinks;
  sinks.parameters = [&](std::vector<std::vector<float>> trained) { values = std::move(trained); };
  train_alone({golden.recipe, golden.corpus, initial, {}}, sinks);
  const TrainedParameters trained(model.parameters, values);
  Generator generator(golden.recipe, model, golden.corpus, trained);
  return ask_all_facts(generator, golden.corpus);
}

nlohmann::ordered_json json_of(const GoldenRecipe& golden, const Trace& expected,
                               const std::vector<GoldenResult>& results) {
  const auto same = std::count_if(results.begin(), results.end(),
                                  [](const GoldenResult& result) { return result.same_bits(); });
  std::set<std::string> meshes;
  std::set<std::string> transports;
  for (const GoldenResult& result : results) {
    meshes.insert(to_string(result.run.how.mesh));
    transports.insert(result.run.transport);
  }
  auto json = nlohmann::ordered_json::object();
  json["name"] = golden.name;
  json["runs"] = results.size();
  json["same_bits"] = same;
  json["meshes"] = meshes;
  json["transports"] = transports;
  json["curve"] = nlohmann::ordered_json::array();
  for (const TraceStep& step : expected.steps) {
    json["curve"].push_back({static_cast<double>(step.step), static_cast<double>(step.loss)});
  }
  return json;
}

}  // namespace

GoldenResult check_case(const GoldenRecipe& golden, const Trace& expected, const GoldenCase& run) {
  GoldenResult result{.run = run, .difference = {}, .not_run = {}};
  try {
    const auto difference = compare_prefix(expected, trace_of(golden, run));
    if (difference) result.difference = to_string(*difference);
  } catch (const std::exception& e) {
    (is_of_environment(e) ? result.not_run : result.difference) = e.what();
  }
  return result;
}

int check_goldens(const GoldenCheckOptions& options) {
  const std::vector<GoldenRecipe> goldens = golden_recipes(options.golden_dir, options.recipe);
  if (!options.json_path.empty()) require_writable(options.json_path);
  std::vector<Trace> expected;
  for (const GoldenRecipe& golden : goldens) {
    if (!fs::exists(golden.trace_path)) {
      throw UsageError(
          fmt::format("recipe '{}' has no golden '{}'", golden.name, golden.trace_path),
          "meshparity-golden record --reason \"a new recipe\"");
    }
    expected.push_back(load_trace(golden.trace_path));
  }
  std::vector<std::vector<GoldenCase>> cases;
  std::vector<std::future<std::optional<RightAnswers>>> asked;
  Checks checks;
  for (std::size_t g = 0; g < goldens.size(); ++g) {
    cases.push_back(golden_cases(goldens[g], options.with_sim, options.with_mpi));
    for (const GoldenCase& run : cases.back()) checks.add(goldens[g], expected[g], run);
    asked.push_back(std::async(std::launch::async, answers_of, std::cref(goldens[g])));
  }
  checks.start();
  print_heading();
  auto json = nlohmann::ordered_json::object();
  json["recipes"] = nlohmann::ordered_json::array();
  std::size_t runs = 0;
  std::size_t not_run = 0;
  std::string first_difference;
  for (std::size_t g = 0; g < goldens.size(); ++g) {
    std::vector<GoldenResult> results;
    for (std::size_t i = 0; i < cases[g].size(); ++i) {
      results.push_back(checks.result(runs + i));
      print_row(goldens[g], results.back());
    }
    json["recipes"].push_back(json_of(goldens[g], expected[g], results));
    if (const auto answers = asked[g].get()) {
      fmt::print("{}: after {} steps the model knows {} of {} sums and products\n", goldens[g].name,
                 goldens[g].recipe.steps, answers->right, answers->asked);
      json["recipes"].back()["answers"] = {{"right", answers->right}, {"asked", answers->asked}};
    }
    runs += results.size();
    for (const GoldenResult& result : results) {
      if (!result.not_run.empty()) ++not_run;
      if (result.difference.empty() || !first_difference.empty()) continue;
      first_difference = fmt::format("recipe {}, mesh {} ({}): {}\nrerun: {}", goldens[g].name,
                                     to_string(result.run.how.mesh), result.run.transport,
                                     result.difference, rerun_line(goldens[g], result.run));
    }
  }
  if (!options.json_path.empty()) write_file(options.json_path, json.dump(2) + "\n");
  if (!first_difference.empty()) {
    fmt::print("first difference: {}\n", first_difference);
    return kProofFailed;
  }
  if (not_run > 0) {
    fmt::print("unverified: {} of {} runs could not be made\n", not_run, runs);
    return kUnverified;
  }
  fmt::print("{} runs of {} recipes: every one has its golden's bits\n", runs, goldens.size());
  return kSuccess;
}

}  // namespace meshparity
