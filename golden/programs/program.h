#pragma once

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "golden/jobs/exit_status.h"

// NOLINTNEXTLINE(readability-identifier-naming): CLI11's name
namespace CLI {
class App;
}

/// What the command-line programs have in common.
namespace meshparity {

/// What a user is told about an error, and the exit status that goes with it.
struct ErrorReport {
  std::string text;  ///< "error: ..." and, with a hint, "try: ...", each line ended
  ExitStatus status = kBadUsage;
};
/// A simulated world that cannot go on is a failed proof; what nobody foresaw is the environment.
ErrorReport describe_error(const std::exception_ptr& error);

/// Thrown by `parse_arguments` for --help and --version: print `what()` and end with success.
class PrintAndExit : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Lets `app` read the arguments (without the program's name). An option's value may begin with
/// "-", so that a negative number is judged as a value. Throws UsageError for what `app` refuses.
void parse_arguments(CLI::App& app, const std::vector<std::string>& arguments);

/// The arguments of main, without the program's name.
std::vector<std::string> arguments_of(int argc, char** argv);

/// Prints an error, even where there is no memory to describe it, and returns its exit status.
int print_error(const std::exception_ptr& error) noexcept;

/// Runs a program's body, which returns its exit status; prints what it throws. Success means that
/// everything has been written to standard output, too.
int run_program(const std::function<int()>& body);

}  // namespace meshparity
