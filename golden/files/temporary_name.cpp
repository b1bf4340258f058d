#include "golden/files/temporary_name.h"

#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX's
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>

#include "model/error.h"

namespace meshparity {
namespace {

enum class State : int { free, changing, named, removed };

/// A name where a signal handler finds it whole, whatever it interrupts.
struct Slot {
  std::atomic<State> state{State::free};
  std::array<char, PATH_MAX> path{};
};
static_assert(std::atomic<State>::is_always_lock_free);  // signal handlers may use it

std::array<Slot, 64> slots;

std::size_t take_slot() {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    State expected = State::free;
    if (slots[i].state.compare_exchange_strong(expected, State::changing)) return i;
  }
  throw EnvironmentError(fmt::format("more than {} files are being written", slots.size()));
}

std::string new_path(const std::string& folder) {
  std::uint64_t random = 0;
  if (::getentropy(&random, sizeof(random)) != 0) {
    throw EnvironmentError(fmt::format("no random numbers: {}", std::strerror(errno)));
  }
  return fmt::format("{}{}.meshparity-{:016x}.partial", folder, folder.empty() ? "" : "/", random);
}

/// The handler was reset before the call, so the signal now does what it does by default.
void end_by(int signal) {
  remove_temporaries();
  ::raise(signal);
}

}  // namespace

TemporaryName::TemporaryName(const std::string& folder) {
  const std::string path = new_path(folder);
  if (path.size() >= PATH_MAX) {
    throw UsageError(
        fmt::format("path '{}' has {} bytes, the limit is {}", folder, path.size(), PATH_MAX - 1),
        "use a shorter one");
  }
  slot_ = take_slot();
  std::memcpy(slots[slot_].path.data(), path.c_str(), path.size() + 1);
  slots[slot_].state = State::named;
}

TemporaryName::~TemporaryName() {
  // A handler in another thread may still read a name that it took; nobody else gets that slot.
  State expected = State::named;
  slots[slot_].state.compare_exchange_strong(expected, State::free);
}

const char* TemporaryName::path() const { return slots[slot_].path.data(); }

void remove_temporaries() noexcept {
  for (Slot& slot : slots) {
    State expected = State::named;
    if (slot.state.compare_exchange_strong(expected, State::removed)) ::unlink(slot.path.data());
  }
}

void remove_temporaries_on_signals() noexcept {
  const auto set = [](int signal, void (*handler)(int)) {
    struct sigaction action {};
    if (::sigaction(signal, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) return;
    action = {};
    action.sa_handler = handler;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    ::sigaction(signal, &action, nullptr);
  };
  for (const int signal : {SIGPIPE, SIGXFSZ}) set(signal, SIG_IGN);
  for (const int signal :
       {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU}) {
    set(signal, end_by);
  }
}

}  // namespace meshparity
