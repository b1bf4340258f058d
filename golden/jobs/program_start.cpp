#include "golden/jobs/program_start.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "golden/files/temporary_name.h"
#include "golden/jobs/exit_status.h"

namespace meshparity {

void start_program() noexcept {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest free number is the one that is missing. Results must not be lost without a word,
    // so standard output is one that cannot be written.
    const int mode = stream == STDOUT_FILENO ? O_RDONLY : O_WRONLY;
    if (::open("/dev/null", mode) != stream) std::_Exit(kEnvironmentFailed);
  }
  remove_temporaries_on_signals();
}

}  // namespace meshparity
