#include "parallel/transport/watchdog.h"

#include <algorithm>
#include <utility>

namespace meshparity {

Watchdog::Watchdog(std::chrono::milliseconds deadline, Handler on_deadline)
    : deadline_(deadline), on_deadline_(std::move(on_deadline)), thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::begin(const CommOperation& operation) {
  const std::lock_guard lock(mutex_);
  current_ = operation;
  since_ = Clock::now();
  waited_ = {};
  reported_ = false;
}

void Watchdog::end() {
  const std::lock_guard lock(mutex_);
  current_.reset();
}

void Watchdog::set_deadline(std::chrono::milliseconds deadline) {
  const std::lock_guard lock(mutex_);
  deadline_ = deadline;
}

void Watchdog::meet(Waited& own, std::vector<const Waited*> others) {
  const std::lock_guard lock(mutex_);
  own_ = &own;
  others_ = std::move(others);
}

/// This process, and all that are seen.
bool Watchdog::has_waited_long() const {
  return current_ && !reported_ && waited_ >= deadline_ &&
         std::ranges::all_of(others_, [this](const Waited* other) {
           return std::chrono::milliseconds(other->load(std::memory_order_relaxed)) >= deadline_;
         });
}

void Watchdog::watch() {
  const auto period = [this] {
    return std::clamp<Clock::duration>(deadline_ / 8, std::chrono::milliseconds(1),
                                       std::chrono::seconds(1));
  };
  std::unique_lock lock(mutex_);
  Clock::time_point before = Clock::now();
  while (!changed_.wait_for(lock, period(), [this] { return ends_; })) {
    const Clock::time_point now = Clock::now();
    // Where much more has passed than was slept, this process did not run meanwhile.
    waited_ += std::min<Clock::duration>(now - std::max(before, since_), 2 * period());
    before = now;
    if (own_ != nullptr) {
      const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(waited_);
      own_->store(current_ ? waited.count() : 0, std::memory_order_relaxed);
    }
    if (!has_waited_long()) continue;
    const std::string report = "waited for " +
                               std::to_string(std::chrono::duration<double>(waited_).count()) +
                               " seconds in " + describe(*current_);
    reported_ = true;
    lock.unlock();
    on_deadline_(report);
    lock.lock();
  }
}

}  // namespace meshparity
