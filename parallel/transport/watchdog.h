#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "parallel/transport/operation.h"

namespace meshparity {

/// Notices from a thread of its own that an operation takes too long, and says so once.
class Watchdog {
 public:
  using Handler = std::function<void(const std::string& report)>;

  /// `on_deadline` runs in the watchdog's thread while the operation goes on.
  Watchdog(std::chrono::milliseconds deadline, Handler on_deadline);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// What `operation` points to must live until `end`.
  void begin(const CommOperation& operation);
  void end();

 private:
  using Clock = std::chrono::steady_clock;
  void watch();

  const std::chrono::milliseconds deadline_;
  const Handler on_deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<CommOperation> current_;
  Clock::time_point since_;
  bool ends_ = false;
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace meshparity
