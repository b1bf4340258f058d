#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "parallel/transport/call_site.h"

namespace meshparity {

/// One communication operation of a process, for messages to people.
struct CommOperation {
  const char* name = "";
  const std::string* group = nullptr;  // its name
  std::size_t rank = 0;                // in the group
  CallSite site;
  const char* peer_role = nullptr;  // "to", "from"; null in an operation of the whole group
  std::size_t peer = 0;
  int tag = 0;
};

/// "recv on rank 0 of group pp, from rank 1 (tag 3), called at parallel/train_pp.cpp:88 (train_pp)"
std::string describe(const CommOperation& operation);

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
