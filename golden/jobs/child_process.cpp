#include "golden/jobs/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill is POSIX's
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "model/error.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to us

namespace meshparity {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGrace{2};

/// A pipe whose ends close themselves.
struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw EnvironmentError(fmt::format("no pipe: {}", std::strerror(errno)));
    }
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }

  std::array<int, 2> ends{-1, -1};
};

pid_t start(const std::vector<std::string>& command, const Pipe& output, const Pipe& errors) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.ends[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  // Whoever started this process in the background may have had it ignore some; children do not.
  sigset_t to_default;
  sigemptyset(&to_default);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM}) sigaddset(&to_default, signal);
  posix_spawnattr_setsigdefault(&attributes, &to_default);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t child = -1;
  const int error =
      ::posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    throw EnvironmentError(
        fmt::format("'{}' cannot be started: {}", command[0], std::strerror(error)));
  }
  return child;
}

/// Reads what has arrived; at the end of the stream, closes the pipe.
void drain(Pipe& pipe, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(pipe.ends[0], buffer.data(), buffer.size());
  if (count > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    pipe.close_end(0);
  }
}

/// Ends a child that takes too long: SIGTERM at the deadline, SIGKILL some time later.
class Deadline {
 public:
  Deadline(pid_t child, std::chrono::milliseconds deadline)
      : child_(child), terminate_at_(Clock::now() + deadline) {}

  void enforce() {
    const Clock::time_point now = Clock::now();
    if (now >= terminate_at_ && !passed_) {
      passed_ = true;
      ::kill(child_, SIGTERM);
    }
    if (now >= terminate_at_ + kGrace) ::kill(-child_, SIGKILL);
  }

  bool passed() const { return passed_; }
  /// True if something outside the process group survived and still holds a pipe.
  bool hopeless() const { return Clock::now() >= terminate_at_ + 2 * kGrace; }

 private:
  pid_t child_;
  Clock::time_point terminate_at_;
  bool passed_ = false;
};

constexpr int kPollMilliseconds = 20;

}  // namespace

ChildResult run_child(const std::vector<std::string>& command, std::chrono::milliseconds deadline) {
  Pipe output;
  Pipe errors;
  const pid_t child = start(command, output, errors);
  output.close_end(1);
  errors.close_end(1);

  ChildResult result;
  Deadline limit(child, deadline);
  while ((output.ends[0] >= 0 || errors.ends[0] >= 0) && !limit.hopeless()) {
    limit.enforce();
    std::array<pollfd, 2> waiting{{{output.ends[0], POLLIN, 0}, {errors.ends[0], POLLIN, 0}}};
    if (::poll(waiting.data(), waiting.size(), kPollMilliseconds) <= 0) continue;
    if (waiting[0].revents != 0) drain(output, result.output);
    if (waiting[1].revents != 0) drain(errors, result.errors);
  }
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    limit.enforce();
    ::poll(nullptr, 0, 1);
  }
  result.timed_out = limit.passed();
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

}  // namespace meshparity
