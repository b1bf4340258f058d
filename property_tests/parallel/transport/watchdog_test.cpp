#include "parallel/transport/watchdog.h"

#include <gtest/gtest.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): kill is POSIX's
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

namespace meshparity {
namespace {

using std::chrono::milliseconds;

const std::string group = "pp";
const CommOperation receive{.name = "recv",
                            .group = &group,
                            .rank = 2,
                            .site = {"parallel/train_pp.cpp", 88, "train_pp"},
                            .peer_role = "from",
                            .peer = 1,
                            .tag = 3};

/// A loaded machine may let the threads of watchdogs wait for long.
template <typename Condition>
void expect_soon(Condition holds) {
  const auto begin = std::chrono::steady_clock::now();
  while (!holds() && std::chrono::steady_clock::now() - begin < milliseconds(20000)) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_TRUE(holds());
}

TEST(Watchdog, OperationInWords) {
  EXPECT_EQ(describe(receive),
            "recv on rank 2 of group pp, from rank 1 (tag 3), called at "
            "parallel/train_pp.cpp:88 (train_pp)");
  CommOperation barrier = receive;
  barrier.name = "barrier";
  barrier.peer_role = nullptr;
  EXPECT_EQ(describe(barrier),
            "barrier on rank 2 of group pp, called at parallel/train_pp.cpp:88 (train_pp)");
}

TEST(Watchdog, ReportsAnOperationPastItsDeadlineOnce) {
  std::promise<std::string> promise;
  int reports = 0;
  std::string report;
  {
    Watchdog watchdog(milliseconds(20), [&](const std::string& text) {
      if (++reports == 1) promise.set_value(text);
    });
    const auto start = std::chrono::steady_clock::now();
    watchdog.begin(receive);
    report = promise.get_future().get();
    EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
    std::this_thread::sleep_for(milliseconds(60));
    watchdog.end();
  }
  EXPECT_EQ(reports, 1);
  EXPECT_EQ(report.find("waited for "), 0U) << report;
  EXPECT_NE(report.find(" seconds in recv on rank 2 of group pp, from rank 1 (tag 3), called at "
                        "parallel/train_pp.cpp:88 (train_pp)"),
            std::string::npos)
      << report;
}

TEST(Watchdog, ReportsInTime) {
  std::promise<void> reported;
  Watchdog watchdog(milliseconds(500), [&](const std::string&) { reported.set_value(); });
  watchdog.begin(receive);
  EXPECT_EQ(reported.get_future().wait_for(milliseconds(5000)), std::future_status::ready);
  watchdog.end();
}

TEST(Watchdog, ADeadlineCanChangeMeanwhile) {
  std::promise<void> reported;
  Watchdog watchdog(std::chrono::hours(1), [&](const std::string&) { reported.set_value(); });
  watchdog.begin(receive);
  watchdog.set_deadline(milliseconds(50));
  EXPECT_EQ(reported.get_future().wait_for(milliseconds(5000)), std::future_status::ready);
  watchdog.end();
}

TEST(Watchdog, TimeInWhichTheProcessIsSuspendedDoesNotCount) {
  const auto before = std::chrono::steady_clock::now();
  const pid_t suspended = ::getpid();
  const pid_t other = ::fork();
  ASSERT_GE(other, 0);
  if (other == 0) {
    ::usleep(100'000);
    ::kill(suspended, SIGSTOP);
    ::usleep(3'000'000);
    ::kill(suspended, SIGCONT);
    ::_exit(0);
  }
  int reports = 0;
  {
    Watchdog watchdog(milliseconds(2000), [&](const std::string&) { ++reports; });
    watchdog.begin(receive);
    ::waitpid(other, nullptr, 0);
    std::this_thread::sleep_for(milliseconds(100));
    watchdog.end();
  }
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(3000));
  EXPECT_EQ(reports, 0);
}

TEST(Watchdog, WaitsForNeighboursThatDoNotWait) {
  Watchdog::Waited own{0};
  Watchdog::Waited other{0};
  Watchdog working(milliseconds(40), [](const std::string&) {});
  working.meet(other, {&own});
  std::promise<void> promise;
  std::future<void> reported = promise.get_future();
  {
    Watchdog watchdog(milliseconds(40), [&](const std::string&) { promise.set_value(); });
    watchdog.meet(own, {&other});
    watchdog.begin(receive);
    expect_soon([&] { return own.load() >= 40; });
    EXPECT_EQ(reported.wait_for(milliseconds(400)), std::future_status::timeout);
    working.begin(receive);  // now both wait: a deadlock
    EXPECT_EQ(reported.wait_for(milliseconds(20000)), std::future_status::ready);
    watchdog.end();
  }
  working.end();
  expect_soon([&] { return other.load() == 0; });
}

TEST(Watchdog, SaysNothingOfOperationsThatEndInTime) {
  int reports = 0;
  {
    // Together the operations take longer than the deadline, none of them does.
    Watchdog watchdog(milliseconds(500), [&](const std::string&) { ++reports; });
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < milliseconds(700)) {
      watchdog.begin(receive);
      std::this_thread::sleep_for(milliseconds(1));
      watchdog.end();
    }
  }
  EXPECT_EQ(reports, 0);
}

TEST(Watchdog, SaysNothingWhenIdle) {
  int reports = 0;
  {
    Watchdog watchdog(milliseconds(5), [&](const std::string&) { ++reports; });
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_EQ(reports, 0);
}

}  // namespace
}  // namespace meshparity
