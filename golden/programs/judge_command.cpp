#include "golden/programs/judge_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/judge/diagnosis.h"
#include "golden/judge/page.h"
#include "golden/judge/pair_verdict.h"
#include "golden/judge/verdict.h"
#include "golden/judge/verdict_text.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "model/numerics/premises.h"

namespace meshparity {
namespace {

constexpr const char* kJudgeDescription =
    "Judges training steps that any framework recorded: every operation, loss, gradient and update\n"
    "against a float64 oracle, within bounds that are derived.";

constexpr const char* kJudgeFooter =
    R"(golden/RECORDINGS.md says what a recording is, golden/clients/ has a recorder for PyTorch.
Two recordings of the same steps are each judged, and compared.

error/bound above 1: a mistake. bound/value: what a mistake must at least be to be seen; above 0.01
the tensor is unverified.

Exit status: 0 verified, 1 different, 2 bad usage or input, 3 the environment failed,
4 unverified: nothing differs, but something is missing or its bound is too wide.)";

int status_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::verified:
      return kSuccess;
    case Outcome::different:
      return kProofFailed;
    default:
      return kUnverified;
  }
}

struct Options {
  std::vector<std::string> folders;
  std::vector<std::size_t> steps;
  bool all = false;
  std::string json;
  std::string html;
};

std::vector<std::size_t> chosen_steps(const std::string& folder, const Options& options) {
  const std::vector<std::size_t> recorded = recorded_steps(folder);
  for (const std::size_t step : options.steps) {
    if (std::ranges::find(recorded, step) != recorded.end()) continue;
    throw UsageError(fmt::format("'{}' holds no step {}", printable(folder), step),
                     fmt::format("choose among {} to {}", recorded.front(), recorded.back()));
  }
  return options.steps.empty() ? recorded : options.steps;
}

void show_progress(std::size_t step) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "judging step {} ...\n", step);
}

int judge_one(const std::string& folder, const Options& options) {
  std::vector<StepVerdict> verdicts;
  std::string premises;
  for (const std::size_t number : chosen_steps(folder, options)) {
    show_progress(number);
    const RecordedStep step = read_recorded_step(folder, number);
    if (verdicts.empty()) {
      premises = premises_text(step);
      fmt::print("{}", premises);
    }
    verdicts.push_back(judge_recorded_step(step));
    diagnose_first(step, verdicts, [&]() -> std::optional<RecordedStep> {
      const std::vector<std::size_t> steps = recorded_steps(folder);
      const auto at = std::ranges::find(steps, number);
      if (at == steps.begin() || *(at - 1) + 1 != number) return std::nullopt;
      return read_recorded_step(folder, number - 1);
    });
  }
  fmt::print("{}", printable_lines(verdict_text(verdicts, options.all)));
  if (!options.json.empty()) write_file(options.json, verdict_json(verdicts));
  if (!options.html.empty()) write_file(options.html, verdict_page(folder, premises, verdicts));
  return status_of(outcome_of(verdicts));
}

int judge_two(const std::string& first, const std::string& second, const Options& options) {
  const std::vector<std::size_t> steps = chosen_steps(first, options);
  if (steps != chosen_steps(second, options)) {
    throw UsageError(fmt::format("'{}' and '{}' do not hold the same steps", printable(first),
                                 printable(second)),
                     "choose some that both hold with --steps");
  }
  PairVerdict pair;
  std::string premises;
  for (const std::size_t number : steps) {
    show_progress(number);
    const RecordedStep a = read_recorded_step(first, number);
    const RecordedStep b = read_recorded_step(second, number);
    if (number == steps.front()) {
      premises = fmt::format("first: {}second: {}", premises_text(a), premises_text(b));
      fmt::print("{}", premises);
    }
    judge_pair(a, b, number == steps.front(), pair);
  }
  fmt::print("{}", printable_lines(pair_text(pair, options.all)));
  if (!options.json.empty()) write_file(options.json, pair_json(pair));
  if (!options.html.empty()) {
    const bool first_is_off = outcome_of(pair.first) == Outcome::different;
    write_file(options.html, first_is_off ? verdict_page(first, premises, pair.first)
                                          : verdict_page(second, premises, pair.second));
  }
  return status_of(outcome_of(pair));
}

}  // namespace

int judge_command(const std::vector<std::string>& arguments) {
  require_premises();
  CLI::App app(kJudgeDescription, "meshparity-judge");
  app.footer(kJudgeFooter);
  app.set_version_flag("--version", std::string("meshparity-judge ") + MESHPARITY_VERSION);
  Options options;
  app.add_option("recording", options.folders, "a folder of recorded steps, or two")
      ->type_name("FOLDER")
      ->required()
      ->expected(1, 2);
  app.add_option("--steps", options.steps, "judge these steps alone")
      ->delimiter(',')
      ->type_name("N,...");
  app.add_flag("--all", options.all, "print every tensor's line");
  app.add_option("--json", options.json, "also write the verdict there")->type_name("FILE");
  app.add_option(
         "--html", options.html,
         "also write a page of it there: every tensor on a map (of two recordings, the one\n"
         "that is off)")
      ->type_name("FILE");
  parse_arguments(app, arguments);
  if (!options.json.empty()) require_writable(options.json);
  if (!options.html.empty()) require_writable(options.html);
  if (options.folders.size() == 1) return judge_one(options.folders.front(), options);
  return judge_two(options.folders.front(), options.folders.back(), options);
}

}  // namespace meshparity
