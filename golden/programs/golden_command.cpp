#include "golden/programs/golden_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>

#include "golden/check/golden_check.h"
#include "golden/files/file_io.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "model/numerics/premises.h"

namespace meshparity {
namespace {

constexpr const char* kGoldenDescription =
    "The recorded loss traces: one golden per recipe, whatever the mesh, the schedule and the\n"
    "transport.";

constexpr const char* kGoldenFooter =
    "Exit status: 0 the same bits, 1 not, 2 bad usage or input, 3 the environment failed,\n"
    "4 unverified: nothing differs, but the machine kept some run from being made.";

std::string compiler() {
#ifdef __clang__
  return fmt::format("clang {}", __clang_version__);
#else
  return fmt::format("gcc {}", __VERSION__);
#endif
}

std::string today() {
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now()));
}

/// What a new recording changes, for a person; empty if nothing.
std::string what_moved(const GoldenRecipe& golden, const Trace& recorded) {
  if (!std::filesystem::exists(golden.trace_path)) return "new";
  Trace before;
  try {
    before = load_trace(golden.trace_path);
  } catch (const UsageError& e) {
    return fmt::format("replaced, the file was damaged: {}", e.what());
  }
  const auto difference = compare_traces(before, recorded);
  if (difference) return "moved: " + to_string(*difference);
  return before.header.every == recorded.header.every ? "" : "other steps are recorded";
}

/// Records every golden again. A golden whose bits did not move keeps its file, date and reason.
int record_goldens(const std::string& golden_dir, const std::string& only,
                   const std::string& reason) {
  if (reason.find_first_not_of(" \t\n\r") == std::string::npos) {
    throw UsageError("--reason is empty", "--reason \"why the bits change\"");
  }
  for (const GoldenRecipe& golden : golden_recipes(golden_dir, only)) {
    std::filesystem::create_directories(std::filesystem::path(golden.trace_path).parent_path());
    Trace trace =
        traced(golden, golden.recipe.steps, golden_interval(golden.recipe.steps), train_alone);
    trace.header.compiler = compiler();
    trace.header.date = today();
    trace.header.reason = reason;
    const std::string moved = what_moved(golden, trace);
    if (!moved.empty()) write_file(golden.trace_path, text_of(trace));
    fmt::print("{}: {}\n", golden.trace_path, moved.empty() ? "unchanged" : moved);
  }
  return kSuccess;
}

}  // namespace

int golden_command(const std::vector<std::string>& arguments) {
  require_premises();
  CLI::App app(kGoldenDescription, "meshparity-golden");
  app.footer(kGoldenFooter);
  app.set_version_flag("--version", std::string("meshparity-golden ") + MESHPARITY_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  GoldenCheckOptions options;
  options.golden_dir = MESHPARITY_GOLDEN_DIR;
  app.add_option("--golden-dir", options.golden_dir, "folder of recipes/ and traces/")
      ->type_name("DIR");
  app.add_option("--recipe", options.recipe, "only this one")->type_name("NAME");

  CLI::App* check = app.add_subcommand("check",
                                       "train every recipe on one rank, on a spread of "
                                       "meshes and on both transports, and compare");
  check->add_option("--json", options.json_path, "write the results here, too")->type_name("FILE");
  std::string transport = "all";
  check->add_option("--transport", transport, "sim, mpi or all (default)")->type_name("NAME");
  CLI::App* record = app.add_subcommand("record", "record all goldens again, say what moved");
  std::string reason;
  record->add_option("--reason", reason, "why the bits change")->required()->type_name("TEXT");
  parse_arguments(app, arguments);

  if (record->parsed()) return record_goldens(options.golden_dir, options.recipe, reason);
  if (transport != "sim" && transport != "mpi" && transport != "all") {
    throw UsageError(fmt::format("--transport: unknown value '{}'", transport),
                     "--transport sim or mpi or all");
  }
  options.with_sim = transport != "mpi";
  options.with_mpi = transport != "sim";
#ifndef MESHPARITY_WITH_MPI
  if (transport == "mpi") {
    throw EnvironmentError("this build has no MPI (MESHPARITY_MPI is off): use --transport sim");
  }
  if (options.with_mpi) fmt::print("note: this build has no MPI; checking simulated worlds only\n");
  options.with_mpi = false;
#endif
  return check_goldens(options);
}

}  // namespace meshparity
