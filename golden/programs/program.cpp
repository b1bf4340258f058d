#include "golden/programs/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <new>

#include "golden/files/printable.h"
#include "golden/jobs/program_start.h"
#include "model/error.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {

namespace {

/// The report before anything that it quotes is made fit for a terminal.
ErrorReport raw_report(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const UsageError& e) {
    const std::string hint = e.hint().empty() ? "" : fmt::format("try: {}\n", e.hint());
    return {fmt::format("error: {}\n{}", e.what(), hint), kBadUsage};
  } catch (const SimFailure& e) {
    return {fmt::format("error: {}\n", e.what()), kProofFailed};
  } catch (const std::bad_alloc&) {
    return {"error: there is not enough memory\ntry: smaller sizes, or more ranks\n",
            kEnvironmentFailed};
  } catch (const std::length_error&) {
    return {"error: a size is beyond what this machine can address\ntry: smaller sizes\n",
            kBadUsage};
  } catch (const std::exception& e) {
    return {fmt::format("error: {}\n", e.what()), kEnvironmentFailed};
  }
}

}  // namespace

ErrorReport describe_error(const std::exception_ptr& error) {
  ErrorReport report = raw_report(error);
  report.text = printable_lines(report.text);
  return report;
}

int print_error(const std::exception_ptr& error) noexcept {
  try {
    const ErrorReport report = describe_error(error);
    std::fputs(report.text.c_str(), stderr);
    return report.status;
  } catch (...) {
    std::fputs("error: there is not enough memory\n", stderr);
    return kEnvironmentFailed;
  }
}

int run_program(const std::function<int()>& body) {
  start_program();
  int status = kSuccess;
  try {
    status = body();
  } catch (const PrintAndExit& text) {
    std::fputs(text.what(), stdout);
  } catch (...) {
    status = print_error(std::current_exception());
  }
  const bool printed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (printed || status != kSuccess) return status;
  std::fputs("error: standard output cannot be written\n", stderr);
  return kEnvironmentFailed;
}

void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> joined;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const CLI::Option* option = word.starts_with("--") ? app.get_option_no_throw(word) : nullptr;
    const bool takes_value = option != nullptr && option->get_items_expected_min() > 0;
    const bool value_looks_like_option = i + 1 < arguments.size() &&
                                         arguments[i + 1].starts_with('-') &&
                                         !arguments[i + 1].starts_with("--");
    if (takes_value && value_looks_like_option) {
      joined.push_back(word + "=" + arguments[++i]);
    } else {
      joined.push_back(word);
    }
  }
  std::reverse(joined.begin(), joined.end());  // what CLI11 wants of a vector
  try {
    app.parse(std::move(joined));
  } catch (const CLI::CallForHelp&) {
    throw PrintAndExit(app.help());
  } catch (const CLI::CallForVersion& version) {
    throw PrintAndExit(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& e) {
    throw UsageError(e.what(), fmt::format("{} --help", app.get_name()));
  }
}

std::vector<std::string> arguments_of(int argc, char** argv) { return {argv + 1, argv + argc}; }

}  // namespace meshparity
