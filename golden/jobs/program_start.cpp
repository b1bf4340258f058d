#include "golden/jobs/program_start.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "golden/files/temporary_name.h"
#include "golden/jobs/exit_status.h"

namespace meshparity {
namespace {

std::terminate_handler usual_terminate = std::abort;

/// Where an exception cannot get out (libraries have functions that allocate and must not throw),
/// running out of memory still is an error like others.
[[noreturn]] void terminate() {
  remove_temporaries();
  try {
    if (const auto error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    std::fputs("error: there is not enough memory\n", stderr);
    std::_Exit(kEnvironmentFailed);
  } catch (...) {
    usual_terminate();
  }
  std::abort();
}

}  // namespace

void start_program() noexcept {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest free number is the one that is missing. Results must not be lost without a word,
    // so standard output is one that cannot be written.
    const int mode = stream == STDOUT_FILENO ? O_RDONLY : O_WRONLY;
    if (::open("/dev/null", mode) != stream) std::_Exit(kEnvironmentFailed);
  }
  usual_terminate = std::set_terminate(terminate);
  remove_temporaries_on_signals();
}

}  // namespace meshparity
