#include "golden/programs/stop_signals.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX's

namespace meshparity {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT};

volatile sig_atomic_t requested_flag = 0;

/// SA_RESETHAND: by the time this runs, the same signal would do what it does by default.
void on_signal(int signal) {
  if (requested_flag != 0) ::raise(signal);
  requested_flag = 1;
}

}  // namespace

StopSignals::StopSignals() {
  requested_flag = 0;
  for (const int signal : kSignals) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    action.sa_handler = on_signal;
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    ::sigaction(signal, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (const int signal : kSignals) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler != on_signal) continue;
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
}

bool StopSignals::requested() { return requested_flag != 0; }

}  // namespace meshparity
