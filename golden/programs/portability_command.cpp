#include "golden/programs/portability_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <chrono>
#include <nlohmann/json.hpp>

#include "golden/files/file_io.h"
#include "golden/programs/portability.h"
#include "golden/programs/program.h"
#include "model/numerics/isa.h"
#include "model/numerics/premises.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPortabilityDescription =
    "Whether this build on this processor gives the recorded bits: the golden traces, every\n"
    "kernel against its definition, and exp, log, tanh and erf. Needs no other file than the\n"
    "project's golden folder. The SHA-256 of all results are compared between machines by\n"
    "ci/portability.";

constexpr const char* kPortabilityFooter =
    "Exit status: 0 the same bits, 1 not, 2 bad usage or input.";

std::string compiler() {
#ifdef __clang__
  return fmt::format("clang {}.{}", __clang_major__, __clang_minor__);
#else
  return fmt::format("gcc {}.{}", __GNUC__, __GNUC_MINOR__);
#endif
}

Json json_of(const std::vector<PortabilityCheck>& checks) {
  Json list = Json::array();
  for (const PortabilityCheck& check : checks) {
    list.push_back({{"name", check.name},
                    {"compared", check.compared},
                    {"same", check.same},
                    {"difference", check.difference},
                    {"sha256", check.sha256}});
  }
  return list;
}

/// Prints the checks and returns whether all are proven.
bool print(const char* what, const std::vector<PortabilityCheck>& checks) {
  bool proven = true;
  for (const PortabilityCheck& check : checks) {
    proven = proven && check.proven();
    fmt::print("{:<8}  {:<17}  {:>8} of {:<8}  {:.16}  {}\n", what, check.name, check.same,
               check.compared, check.sha256, check.proven() ? "yes" : "NO: " + check.difference);
  }
  std::fflush(stdout);
  return proven;
}

int check(const std::string& environment, const std::string& golden_dir, bool all_steps,
          const std::string& json_path) {
  if (!json_path.empty()) require_writable(json_path);
  isa_in_use();  // refuses a bad MESHPARITY_ISA before anything is computed
  const auto begin = std::chrono::steady_clock::now();
  const auto functions = check_portable_functions();
  bool proven = print("function", functions);
  const auto kernels = check_portable_kernels();
  proven = print("kernel", kernels) && proven;
  const auto goldens = check_portable_goldens(golden_dir, all_steps);
  proven = print("golden", goldens) && proven;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  if (!json_path.empty()) {
    const Json json = {
        {"name", environment},          {"compiler", compiler()},
        {"isa", name_of(isa_in_use())}, {"big_endian", std::endian::native == std::endian::big},
        {"seconds", seconds.count()},   {"goldens", json_of(goldens)},
        {"kernels", json_of(kernels)},  {"functions", json_of(functions)}};
    write_file(json_path, json.dump(2) + "\n");
  }
  return proven ? kSuccess : kProofFailed;
}

}  // namespace

int portability_command(const std::vector<std::string>& arguments) {
  require_premises();
  CLI::App app(kPortabilityDescription, "meshparity-portable");
  app.footer(kPortabilityFooter);
  app.set_version_flag("--version", std::string("meshparity-portable ") + MESHPARITY_VERSION);
  std::string golden_dir = MESHPARITY_GOLDEN_DIR;
  std::string json_path;
  std::string environment = "this build";
  bool first_steps = false;
  bool list_isas = false;
  app.add_option("--golden-dir", golden_dir, "folder of recipes/ and traces/")->type_name("DIR");
  app.add_option("--json", json_path, "write the results here, too")->type_name("FILE");
  app.add_option("--environment", environment, "what the results are called")->type_name("NAME");
  app.add_flag(
      "--first-steps", first_steps,
      "train each golden for its first steps alone: emulated processors take hours for all");
  app.add_flag("--list-isas", list_isas, "print what MESHPARITY_ISA can be here, and end");
  parse_arguments(app, arguments);
  if (list_isas) {
    for (const Isa isa : available_isas()) fmt::print("{}\n", name_of(isa));
    return kSuccess;
  }
  return check(environment, golden_dir, !first_steps, json_path);
}

}  // namespace meshparity
