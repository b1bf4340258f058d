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
}

void Watchdog::end() {
  const std::lock_guard lock(mutex_);
  current_.reset();
}

void Watchdog::watch() {
  const auto period = std::clamp<Clock::duration>(deadline_ / 8, std::chrono::milliseconds(1),
                                                  std::chrono::seconds(1));
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, period, [this] { return ends_; })) {
    const std::chrono::duration<double> waited = Clock::now() - since_;
    if (!current_ || waited < deadline_) continue;
    const std::string report =
        "waited for " + std::to_string(waited.count()) + " seconds in " + describe(*current_);
    current_.reset();  // one report is enough
    lock.unlock();
    on_deadline_(report);
    lock.lock();
  }
}

}  // namespace meshparity
