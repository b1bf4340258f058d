// What a simulated world says about requests, ranks and exceptions that get lost.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"
#include "parallel/transport/sim/fiber.h"
#include "property_tests/parallel/transport/comm_test_common.h"
#include "property_tests/parallel/transport/sim/expect_sim_failure.h"

namespace meshparity {
namespace {

using Kind = SimFailure::Kind;

TEST(CommSim, LeakOfAMessageThatNobodyReceives) {
  int line = 0;
  const SimFailure failure =
      expect_sim_failure(Kind::leaked_message,
                         {"1 request nobody waited for", "rank 1: isend to rank 0",
                          "(tag 9, 1 value)", "never waited for and never received"},
                         2, [&](Comm& world) {
                           const float value = 0.0F;
                           line = __LINE__ + 1;
                           if (world.rank() == 1) Request request = world.isend({&value, 1}, 0, 9);
                           world.barrier();
                         });
  ASSERT_EQ(failure.waits().size(), 1U);
  EXPECT_EQ(failure.waits()[0].rank, 1U);
  EXPECT_EQ(failure.waits()[0].operation, "isend");
  EXPECT_EQ(failure.waits()[0].waits_for, "rank 0, which has finished (tag 9)");
  EXPECT_EQ(failure.waits()[0].site.line, line);
}

TEST(CommSim, LeakOfAReceiveThatNobodySends) {
  std::array<float, 2> values{};  // they outlive the world, and so do the requests
  std::array<Request, 2> requests;
  expect_sim_failure(
      Kind::leaked_message,
      {"2 requests nobody waited for", "rank 0: irecv from rank 1, which has finished",
       "rank 1: irecv from rank 0", "never waited for and never sent"},
      2, [&](Comm& world) {
        const std::size_t r = world.rank();
        requests[r] = world.irecv({&values[r], 1}, 1 - r, 0);
      });
  EXPECT_TRUE(requests[0].pending());
}

TEST(CommSim, DroppedRequestIsALeakBeforeItsBufferIsRead) {
  std::vector<float> got(1000);
  expect_sim_failure(Kind::leaked_message, {"rank 0: isend to rank 1", "never waited for"}, 2,
                     [&](Comm& world) {
                       if (world.rank() == 0) {
                         // Both are gone when the receiver comes.
                         const std::vector<float> buffer(1000);
                         Request request = world.isend(buffer, 1, 0);
                       }
                       world.barrier();
                       if (world.rank() == 1) world.recv(got, 0, 0);
                     });
  EXPECT_TRUE(std::isnan(got[0])) << got[0];
}

TEST(CommSim, DeadlockReportListsDroppedRequests) {
  expect_sim_failure(Kind::deadlock,
                     {"rank 1: recv from rank 0, which has finished (tag 1",
                      "rank 0: isend to rank 1 (tag 0, 1 value)", "never waited for"},
                     2, [](Comm& world) {
                       float value = 0.0F;
                       if (world.rank() == 0) Request request = world.isend({&value, 1}, 1, 0);
                       if (world.rank() == 1) world.recv({&value, 1}, 0, 1);
                     });
}

TEST(CommSim, DeathIsReportedToThoseWhoWait) {
  int line = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SimOptions options{.ranks = 3, .seed = seed};
    options.death = {.rank = 1, .operation = 2};
    try {
      run_simulated(options, [&](Comm& world) {
        world.barrier();
        world.barrier();
        line = __LINE__ + 1;
        world.barrier();
      });
      ADD_FAILURE() << "no failure";
    } catch (const SimFailure& failure) {
      const std::string report = failure.what();
      EXPECT_EQ(name_of(failure.kind()), "rank_died");
      EXPECT_NE(
          report.find("rank 1: died before its operation 2, barrier in group world {0-2}, "
                      "called at property_tests/parallel/transport/sim/comm_sim_loss_test.cpp:" +
                      std::to_string(line)),
          std::string::npos)
          << report;
      ASSERT_EQ(failure.waits().size(), 2U);
      EXPECT_EQ(failure.waits()[0].rank, 0U);
      EXPECT_EQ(failure.waits()[0].waits_for, "rank 1, which died");
      EXPECT_EQ(failure.waits()[1].rank, 2U);
    }
  }
}

TEST(CommSim, DeathTakesItsMessagesAlong) {
  SimOptions options{.ranks = 2};
  options.death = {.rank = 0, .operation = 1};
  for (options.seed = 0; options.seed < 20; ++options.seed) {
    std::vector<float> got(1000);
    bool arrived_before = false;
    try {
      run_simulated(options, [&](Comm& world) {
        if (world.rank() == 1) return world.recv(got, 0, 0);
        const std::vector<float> buffer(1000, 1.0F);
        try {
          Request request = world.isend(buffer, 1, 0);
          world.wait(request);
        } catch (...) {
          arrived_before = got[0] == 1.0F;
          throw;
        }
      });
      ADD_FAILURE() << "no failure";
    } catch (const SimFailure& failure) {
      EXPECT_EQ(name_of(failure.kind()), "rank_died") << failure.what();
    }
    EXPECT_EQ(got[0] == 1.0F, arrived_before) << "seed " << options.seed;
  }
}

TEST(CommSim, DeathThatNobodyNoticesIsStillAFailure) {
  SimOptions options{.ranks = 2};
  options.death = {.rank = 1, .operation = 0};
  try {
    run_simulated(options, [](Comm& world) {
      if (world.rank() == 0) return;
      try {
        world.barrier();
      } catch (...) {
        world.barrier();  // the dead stay dead
      }
    });
    ADD_FAILURE() << "no failure";
  } catch (const SimFailure& failure) {
    EXPECT_EQ(name_of(failure.kind()), "rank_died");
    EXPECT_TRUE(failure.waits().empty());
  }
}

RC_GTEST_PROP(CommSim, DeathAtAnyOperationEndsTheWorld, ()) {
  SimOptions options;
  options.ranks = *rc::gen::inRange<std::size_t>(1, 6);
  options.seed = *rc::gen::arbitrary<std::uint64_t>();
  SimOptions::Death death;
  death.rank = *rc::gen::inRange<std::size_t>(0, options.ranks);
  death.operation = *rc::gen::inRange<std::size_t>(0, 20);  // check_every_operation has more
  options.death = death;
  std::string kind = "none";
  try {
    run_simulated(options, [](Comm& world) { check_every_operation(world, 1); });
  } catch (const SimFailure& failure) {
    kind = name_of(failure.kind());
  }
  RC_ASSERT(kind == std::string("rank_died"));
}

/// Counts how many of its kind were destroyed.
struct Counted {
  explicit Counted(int& its_count) : count(its_count) {}
  ~Counted() { ++count; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  int& count;
};

TEST(CommSim, FirstExceptionComesOutAndAllRanksAreUnwound) {
  struct Special : std::out_of_range {
    using std::out_of_range::out_of_range;
  };
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    int unwound = 0;
    int caught = 0;
    const auto body = [&](Comm& world) {
      const Counted counted(unwound);
      try {
        world.barrier();
        if (world.rank() == 2) throw Special("rank 2 is unhappy");
        world.barrier();
      } catch (const Special&) {
        throw;
      } catch (const std::exception&) {
        ++caught;
      } catch (...) {
        throw std::logic_error("a consequence");
      }
    };
    try {
      run_simulated({.ranks = 5, .seed = seed}, body);
      ADD_FAILURE() << "no failure";
    } catch (const Special& error) {
      EXPECT_STREQ(error.what(), "rank 2 is unhappy");
    }
    EXPECT_EQ(unwound, 5);
    EXPECT_EQ(caught, 0);
  }
}

TEST(CommSim, NoMessageArrivesInAStoppedWorld) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    float got = 0.0F;
    bool arrived_before = false;
    EXPECT_THROW(run_simulated({.ranks = 3, .seed = seed, .max_delay = 3},
                               [&](Comm& world) {
                                 float value = 1.0F;
                                 if (world.rank() == 1) world.send({&value, 1}, 2, 0);
                                 if (world.rank() == 2) world.recv({&got, 1}, 1, 0);
                                 if (world.rank() != 0) return;
                                 Request request = world.irecv({&value, 1}, 0, 0);
                                 const float sent = 2.0F;
                                 world.send({&sent, 1}, 0, 0);
                                 world.wait(request);
                                 arrived_before = got == 1.0F;
                                 throw std::runtime_error("stop");
                               }),
                 std::runtime_error);
    EXPECT_EQ(got == 1.0F, arrived_before) << "seed " << seed;
  }
}

TEST(CommSim, StoppedWorldStaysStopped) {
  int after = 0;
  EXPECT_THROW(run_simulated({.ranks = 3},
                             [&](Comm& world) {
                               if (world.rank() == 0) throw std::runtime_error("stop");
                               for (int i = 0; i < 3; ++i) {
                                 try {
                                   world.barrier();
                                   ++after;
                                 } catch (...) {
                                 }
                               }
                             }),
               std::runtime_error);
  EXPECT_EQ(after, 0);
}

/// Leaves this process so much more memory than it has, while it lives.
class MemoryLimit {
 public:
  explicit MemoryLimit(std::size_t more_bytes) {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    ::getrlimit(RLIMIT_AS, &usual_);
    rlimit limit = usual_;
    limit.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + more_bytes;
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &usual_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit usual_{};
};

TEST(CommSim, RanksThatCannotAllBeStartedAreNotStarted) {
  constexpr std::size_t ranks = 1024;
  std::size_t started = 0;
  const auto start = [&](Comm&) { ++started; };
  {
    const MemoryLimit few_stacks(16 * Fiber::kStackBytes);
    EXPECT_THROW(run_simulated({.ranks = ranks}, start), std::system_error);
  }
  EXPECT_EQ(started, 0);
  run_simulated({.ranks = ranks}, start);
  EXPECT_EQ(started, ranks);
}

TEST(CommSim, OptionsWithoutSenseAreRefused) {
  const auto nothing = [](Comm&) {};
  EXPECT_THROW(run_simulated({.ranks = 0}, nothing), CommError);
  SimOptions options{.ranks = 2};
  options.death = {.rank = 2, .operation = 0};
  EXPECT_THROW(run_simulated(options, nothing), CommError);
}

TEST(CommSim, RequestOfAnotherRankIsRefused) {
  std::array<Request, 2> requests;
  float value = 0.0F;
  EXPECT_THROW(run_simulated({.ranks = 2},
                             [&](Comm& world) {
                               if (world.rank() == 0) requests[0] = world.irecv({&value, 1}, 1, 0);
                               world.barrier();
                               if (world.rank() == 1) world.wait(requests[0]);
                               world.barrier();
                             }),
               CommError);
}

}  // namespace
}  // namespace meshparity
