#include "parallel/transport/sim/comm_sim.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "property_tests/parallel/transport/comm_test_common.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using Log = std::vector<std::pair<std::size_t, int>>;  // (rank, its operation), as they ended

/// A program whose ranks have some freedom between its barriers.
Log log_of(const SimOptions& options) {
  Log log;  // needs no lock: one rank runs at a time
  run_simulated(options, [&](Comm& world) {
    const std::size_t right = (world.rank() + 1) % world.size();
    const std::size_t left = (world.rank() + world.size() - 1) % world.size();
    const float sent = 1.0F;
    for (int round = 0; round < 3; ++round) {
      float got = 0.0F;
      Request request = world.irecv({&got, 1}, left, 0);
      log.emplace_back(world.rank(), 4 * round);
      world.send({&sent, 1}, right, 0);
      log.emplace_back(world.rank(), 4 * round + 1);
      world.wait(request);
      log.emplace_back(world.rank(), 4 * round + 2);
      world.barrier();
      log.emplace_back(world.rank(), 4 * round + 3);
    }
  });
  return log;
}

std::vector<float> native_sum(const SimOptions& options, const std::vector<float>& terms) {
  std::vector<float> sums(options.ranks);
  run_simulated(options, [&](Comm& world) {
    float value = terms[world.rank()];
    world.native_all_reduce({&value, 1});
    sums[world.rank()] = value;
  });
  return sums;
}

RC_GTEST_PROP(CommSim, EveryOperationDoesWhatItSays, ()) {
  SimOptions options;
  options.ranks = *random::from_to(1, 12);
  options.seed = *rc::gen::arbitrary<std::uint64_t>();
  options.max_delay = *random::from_to(0, 20);
  const auto sizes = *rc::gen::arbitrary<std::uint64_t>();
  RC_CLASSIFY(options.ranks == 1, "one rank");
  RC_CLASSIFY(options.ranks > 10, "more than 10 ranks");
  RC_CLASSIFY(options.max_delay == 0, "no delay");
  std::vector<std::string> wrong;
  run_simulated(options, [&](Comm& world) {
    for (const std::string& text : check_every_operation(world, sizes)) wrong.push_back(text);
  });
  RC_ASSERT(wrong == std::vector<std::string>());
}

TEST(CommSim, SameSeedIsTheSameInterleaving) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const SimOptions options{.ranks = 5, .seed = seed};
    EXPECT_EQ(log_of(options), log_of(options)) << "seed " << seed;
  }
}

TEST(CommSim, DifferentSeedsAreDifferentInterleavings) {
  std::set<Log> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) seen.insert(log_of({.ranks = 5, .seed = seed}));
  EXPECT_EQ(seen.size(), 20U);
}

TEST(CommSim, EveryOrderOfTwoRanksIsSeen) {
  // Two ranks with two operations each that wait for nobody: 6 interleavings.
  std::set<std::vector<std::size_t>> seen;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    std::vector<std::size_t> order;
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      const std::array<float, 2> sent{};
      std::array<float, 2> got{};
      std::array<Request, 4> requests;
      const std::size_t peer = 1 - world.rank();
      for (int i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(i);
        requests[at] = world.isend({&sent[at], 1}, peer, i);
        order.push_back(world.rank());
      }
      for (int i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(i);
        requests[2 + at] = world.irecv({&got[at], 1}, peer, i);
      }
      for (Request& request : requests) world.wait(request);
    });
    seen.insert(order);
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST(CommSim, RanksRunInTheCallersThread) {
  const auto caller = std::this_thread::get_id();
  run_simulated({.ranks = 8, .seed = 3}, [&](Comm& world) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      world.barrier();
    }
  });
}

TEST(CommSim, WorldsInSeveralThreadsDoNotMeet) {
  constexpr std::uint64_t seeds = 40;
  std::array<std::vector<Log>, 2> logs;
  std::array<std::thread, 2> threads;
  for (std::size_t t = 0; t < threads.size(); ++t) {
    threads[t] = std::thread([&, t] {
      for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        logs[t].push_back(log_of({.ranks = 4, .seed = seed}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(logs[0], logs[1]);
  EXPECT_EQ(logs[0].at(7), log_of({.ranks = 4, .seed = 7}));
}

TEST(CommSim, ARankMayRunAWorldOfItsOwn) {
  const SimOptions inner{.ranks = 3, .seed = 5};
  const Log expected = log_of(inner);
  int equal = 0;
  run_simulated({.ranks = 4, .seed = 1}, [&](Comm& world) {
    world.barrier();
    if (log_of(inner) == expected) ++equal;
    world.barrier();
    EXPECT_THROW(run_simulated({.ranks = 2}, [](Comm& pair) { pair.recv({}, 1 - pair.rank(), 0); }),
                 SimFailure);
    world.barrier();
  });
  EXPECT_EQ(equal, 4);
}

/// Communicates while an exception unwinds its rank.
class BarrierInDestructor {
 public:
  explicit BarrierInDestructor(Comm& world) : world_(world) {}
  ~BarrierInDestructor() {
    world_.barrier();
    EXPECT_EQ(std::uncaught_exceptions(), 1);
  }
  BarrierInDestructor(const BarrierInDestructor&) = delete;
  BarrierInDestructor& operator=(const BarrierInDestructor&) = delete;

 private:
  Comm& world_;
};

TEST(CommSim, ExceptionsOfARankAreItsOwn) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    run_simulated({.ranks = 4, .seed = seed}, [&](Comm& world) {
      try {
        const BarrierInDestructor barrier(world);
        throw world.rank();
      } catch (const std::size_t& rank) {
        world.barrier();
        EXPECT_EQ(rank, world.rank());
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        EXPECT_THROW(throw, std::size_t);
      }
    });
  }
}

TEST(CommSim, NativeSumsAreTakenInEveryOrder) {
  // 1e8 + 1 == 1e8 in float: what is left of the two ones says in which order was added.
  const std::vector<float> terms = {1e8F, 1.0F, -1e8F, 1.0F};
  std::set<float> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const SimOptions options{.ranks = 4, .seed = seed};
    const std::vector<float> sums = native_sum(options, terms);
    EXPECT_EQ(sums, std::vector<float>(4, sums[0])) << "ranks disagree, seed " << seed;
    EXPECT_EQ(sums, native_sum(options, terms)) << "seed " << seed;
    seen.insert(sums[0]);
  }
  EXPECT_EQ(seen, (std::set<float>{0.0F, 1.0F, 2.0F}));
}

TEST(CommSim, NativeSumsAreBracketedInEveryWay) {
  // Floats at 2^27 are 16 apart, those below it 8. (a + b) + c is exact: 8 + 5. a + c rounds down
  // to a, which leaves 8; b + c rounds to 16 - 2^27, which leaves 16.
  const std::vector<float> terms = {0x1p27F, 8.0F - 0x1p27F, 5.0F};
  std::set<float> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    seen.insert(native_sum({.ranks = 3, .seed = seed}, terms)[0]);
  }
  EXPECT_EQ(seen, (std::set<float>{8.0F, 13.0F, 16.0F}));
}

TEST(CommSim, NativeReduceScatterOrderVariesWithTheSeed) {
  std::set<float> seen;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    run_simulated({.ranks = 4, .seed = seed}, [&](Comm& world) {
      const std::array<float, 4> terms = {1e8F, 1.0F, -1e8F, 1.0F};
      const std::vector<std::size_t> counts = {0, 0, 1, 0};
      std::vector<float> mine(counts[world.rank()]);
      world.native_reduce_scatter({&terms[world.rank()], 1}, mine, counts);
      if (world.rank() == 2) seen.insert(mine[0]);
    });
  }
  EXPECT_EQ(seen, (std::set<float>{0.0F, 1.0F, 2.0F}));
}

/// What rank 1 gets when rank 0 overwrites its 1 by 2, before or after the wait.
float received(std::uint64_t seed, std::size_t max_delay, bool overwritten_before_wait) {
  float got = 0.0F;
  run_simulated({.ranks = 2, .seed = seed, .max_delay = max_delay}, [&](Comm& world) {
    if (world.rank() == 1) return world.recv({&got, 1}, 0, 0);
    float buffer = 1.0F;
    Request request = world.isend({&buffer, 1}, 1, 0);
    if (overwritten_before_wait) buffer = 2.0F;
    world.wait(request);
    buffer = 2.0F;
  });
  return got;
}

TEST(CommSim, BufferReusedBeforeTheWaitArrivesCorrupted) {
  int corrupted = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (const std::size_t max_delay : {std::size_t{0}, std::size_t{8}}) {
      EXPECT_EQ(received(seed, max_delay, false), 1.0F) << "seed " << seed;
      if (received(seed, max_delay, true) != 1.0F) ++corrupted;
    }
  }
  EXPECT_EQ(corrupted, 40);
}

TEST(CommSim, BufferReadBeforeTheWaitIsNotTheMessage) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      const float sent = 1.0F;
      if (world.rank() == 0) return world.send({&sent, 1}, 1, 0);
      float got = 1.0F;
      Request request = world.irecv({&got, 1}, 0, 0);
      EXPECT_TRUE(std::isnan(got)) << got;
      world.wait(request);
      EXPECT_EQ(got, 1.0F);
    });
  }
}

TEST(CommSim, BlockingSendWaitsForItsReceiver) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    bool receiver_came = false;
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      float value = 1.0F;
      if (world.rank() == 0) {
        world.send({&value, 1}, 1, 0);
        EXPECT_TRUE(receiver_came) << "seed " << seed;
      } else {
        receiver_came = true;
        world.recv({&value, 1}, 0, 0);
      }
    });
  }
}

TEST(CommSim, WhatIsSentCannotBeRead) {
  run_simulated({.ranks = 1}, [](Comm& world) {
    std::array<float, 1> values{};
    Request sent = world.isend(values, 0, 1);
    Request received = world.irecv(values, 0, 1);
    EXPECT_THROW((void)world.read(sent), CommError);
    world.wait(received);
    world.wait(sent);
  });
}

TEST(CommSim, LaterMessageOfAnotherTagMayOvertake) {
  // Both messages are under way at once; delays alone say which arrives first.
  std::set<bool> second_is_first;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      std::array<float, 2> values = {1.0F, 2.0F};
      std::array<Request, 2> requests;
      for (int i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(i);
        requests[at] = world.rank() == 0 ? world.isend({&values[at], 1}, 1, i)
                                         : world.irecv({&values[at], 1}, 0, i);
      }
      world.wait(requests[1]);
      if (world.rank() == 1) second_is_first.insert(std::isnan(values[0]));
      world.wait(requests[0]);
    });
  }
  EXPECT_EQ(second_is_first, (std::set<bool>{false, true}));
}

TEST(CommSim, RequestMayBeWaitedForOnAnotherGroupAndMoved) {
  float got = 0.0F;
  run_simulated({.ranks = 2, .seed = 1}, [&](Comm& world) {
    const auto pair = world.split("pair", 0, 1 - world.rank());
    const float sent = 3.0F;
    Request first =
        world.rank() == 0 ? pair->isend({&sent, 1}, 0, 0) : pair->irecv({&got, 1}, 1, 0);
    Request second = std::move(first);
    EXPECT_TRUE(second.pending());
    world.wait(second);
    EXPECT_FALSE(second.pending());
  });
  EXPECT_EQ(got, 3.0F);
}

TEST(CommSim, TwoHundredFiftySixRanks) {
  constexpr std::size_t ranks = 256;
  std::vector<float> at_rank(ranks);
  run_simulated({.ranks = ranks, .seed = 11}, [&](Comm& world) {
    std::uint64_t sum = world.rank();
    world.all_reduce_integers({&sum, 1});
    EXPECT_EQ(sum, 32640U);  // 255 * 256 / 2
    // Once around the ring, each rank adding 1.
    float token = 1.0F;
    if (world.rank() > 0) world.recv({&token, 1}, world.rank() - 1, 0);
    at_rank[world.rank()] = token;
    token += 1.0F;
    if (world.rank() + 1 < ranks) world.send({&token, 1}, world.rank() + 1, 0);
    const auto row = world.split("row", world.rank() / 16, world.rank());
    EXPECT_EQ(row->size(), 16U);
    row->barrier();
  });
  for (std::size_t r = 0; r < ranks; ++r) EXPECT_EQ(at_rank[r], static_cast<float>(r + 1));
}

}  // namespace
}  // namespace meshparity
