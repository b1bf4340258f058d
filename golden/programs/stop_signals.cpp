#include "golden/programs/stop_signals.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX's

#include <array>
#include <cstddef>

namespace meshparity {
namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT};

// What a handler sees.
volatile sig_atomic_t requested_flag = 0;
std::array<struct sigaction, kSignals.size()> before;  // what the signals did before

void restore() noexcept {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before[i], nullptr);
}

void on_signal(int /*signal*/) {
  requested_flag = 1;
  restore();  // so that the next one ends the process
}

}  // namespace

StopSignals::StopSignals() {
  requested_flag = 0;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before[i]);
  }
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (before[i].sa_handler == SIG_IGN) continue;
    struct sigaction action = before[i];
    action.sa_handler = on_signal;
    action.sa_flags = static_cast<int>(SA_RESTART);
    sigemptyset(&action.sa_mask);
    for (const int signal : kSignals) sigaddset(&action.sa_mask, signal);
    ::sigaction(kSignals[i], &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  if (!requested()) restore();
}

bool StopSignals::requested() { return requested_flag != 0; }

}  // namespace meshparity
