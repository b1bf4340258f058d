#include "golden/programs/progress.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace meshparity {
namespace {

constexpr std::size_t kPlainLines = 20;
constexpr std::chrono::milliseconds kUpdateInterval{100};

}  // namespace

Progress::Progress(std::size_t first, std::size_t steps)
    : first_(first), steps_(steps), terminal_(::isatty(STDERR_FILENO) == 1), begin_(Clock::now()) {}

Progress::~Progress() {
  if (line_is_open_) std::fputs("\n", stderr);
}

void Progress::step(std::size_t step, float loss) {
  const std::size_t done = step + 1;
  const std::size_t interval = std::max<std::size_t>(1, steps_ / kPlainLines);
  if (!terminal_ && done % interval != 0 && done != steps_) return;
  const Clock::time_point now = Clock::now();
  if (terminal_ && done != steps_ && now - last_update_ < kUpdateInterval) return;
  last_update_ = now;
  print(done, loss, now);
}

void Progress::print(std::size_t done, float loss, Clock::time_point now) {
  const double seconds = std::max(1e-9, std::chrono::duration<double>(now - begin_).count());
  const double steps_per_second = static_cast<double>(done - first_) / seconds;
  const std::chrono::seconds left(
      static_cast<long>(static_cast<double>(steps_ - done) / steps_per_second));
  const std::string text =
      fmt::format("step {:>{}}/{}  loss {:.4f}  {:.0f} steps/s  {:%T} left", done,
                  std::to_string(steps_).size(), steps_, loss, steps_per_second, left);
  // \r and "erase to the end of the line" make a terminal write over the line before.
  const std::string line =
      fmt::format("{}{}{}", terminal_ ? "\r" : "", text, terminal_ ? "\x1b[K" : "\n");
  std::fputs(line.c_str(), stderr);  // whether anybody can read it is no matter of the training
  std::fflush(stderr);
  line_is_open_ = terminal_;
}

}  // namespace meshparity
