#pragma once

#include <chrono>
#include <cstddef>

namespace meshparity {

/// How far training is, on stderr: one line that updates itself on a terminal, otherwise a plain
/// line for about every twentieth of the way.
class Progress {
 public:
  /// The next step is `first`, of `steps` in all.
  Progress(std::size_t first, std::size_t steps);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Step `step` is done.
  void step(std::size_t step, float loss);

 private:
  using Clock = std::chrono::steady_clock;

  void print(std::size_t done, float loss, Clock::time_point now);

  std::size_t first_;
  std::size_t steps_;
  bool terminal_;
  bool line_is_open_ = false;
  Clock::time_point begin_;
  Clock::time_point last_update_;
};

}  // namespace meshparity
