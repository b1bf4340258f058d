#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "parallel/transport/operation.h"

namespace meshparity {

/// Notices from a thread of its own that an operation takes too long, and says so once. Time in
/// which that thread did not run either does not count: a process may be suspended for as long as
/// anybody likes.
///
/// Watchdogs of one machine show each other how long they have waited. Where one of them waits and
/// another does not, the other one's process computes, writes to a slow disk or is suspended, and
/// waiting for it is right: none reports before all have waited that long.
class Watchdog {
 public:
  using Handler = std::function<void(const std::string& report)>;
  /// Milliseconds that a process has waited in its operation; in memory that others can see.
  using Waited = std::atomic<std::int64_t>;

  /// `on_deadline` runs in the watchdog's thread while the operation goes on.
  Watchdog(std::chrono::milliseconds deadline, Handler on_deadline);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// What `operation` points to must live until `end`.
  void begin(const CommOperation& operation);
  void end();

  /// Where to show how long this one waits, and where others do; all must live as long as this.
  void meet(Waited& own, std::vector<const Waited*> others);

  /// From now on, for the operation under way too.
  void set_deadline(std::chrono::milliseconds deadline);

 private:
  using Clock = std::chrono::steady_clock;
  void watch();
  bool has_waited_long() const;

  std::chrono::milliseconds deadline_;
  const Handler on_deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<CommOperation> current_;
  Clock::time_point since_;
  Clock::duration waited_{};
  bool reported_ = false;  // once is enough; others still see that this one waits
  Waited* own_ = nullptr;
  std::vector<const Waited*> others_;
  bool ends_ = false;
  std::thread thread_;  // the last member: it uses the others
};

}  // namespace meshparity
