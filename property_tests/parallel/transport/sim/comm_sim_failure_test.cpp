#include <gtest/gtest.h>

#include <array>
#include <cfenv>
#include <chrono>
#include <string>
#include <vector>

#include "model/error.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/parallel/transport/sim/expect_sim_failure.h"

namespace meshparity {
namespace {

using Kind = SimFailure::Kind;

std::string this_file_at(int line) {
  return "property_tests/parallel/transport/sim/comm_sim_failure_test.cpp:" + std::to_string(line);
}

TEST(CommSim, DeadlockOfAReceivingRing) {
  int line = 0;
  const SimFailure failure =
      expect_sim_failure(Kind::deadlock,
                         {"world of 3 ranks (seed ", "rank 0: recv from rank 2 (tag 4, 1 value)",
                          "rank 1: recv from rank 0", "rank 2: recv from rank 1", "world {0-2}"},
                         3, [&](Comm& world) {
                           float value = 0.0F;
                           line = __LINE__ + 1;
                           world.recv({&value, 1}, (world.rank() + 2) % 3, 4);
                           world.send({&value, 1}, (world.rank() + 1) % 3, 4);
                         });
  ASSERT_EQ(failure.waits().size(), 3U);
  for (std::size_t r = 0; r < 3; ++r) {
    const SimWait& wait = failure.waits()[r];
    EXPECT_EQ(wait.rank, r);
    EXPECT_EQ(wait.operation, "recv");
    EXPECT_EQ(wait.group, "world {0-2}");
    EXPECT_EQ(wait.waits_for, "rank " + std::to_string((r + 2) % 3) + " (tag 4)");
    EXPECT_EQ(wait.site.line, line);
  }
  EXPECT_NE(std::string(failure.what()).find(this_file_at(line)), std::string::npos)
      << failure.what();
}

TEST(CommSim, WholeReportOfADeadlock) {
  int line = 0;
  try {
    run_simulated({.ranks = 4, .seed = 17}, [&](Comm& world) {
      const auto pair = world.split("pp", world.rank() % 2, 0);
      float value = 0.0F;
      line = __LINE__ + 1;
      if (world.rank() == 0) pair->recv({&value, 1}, 1, 3);
      if (world.rank() == 1) pair->broadcast({&value, 1}, 1);
      if (world.rank() == 2) {
        Request request = world.isend({&value, 1}, 3, 5);
        world.wait(request);
      }
    });
    ADD_FAILURE() << "no failure";
  } catch (const SimFailure& failure) {
    const auto at = [&](int offset) { return this_file_at(line + offset) + " (operator())"; };
    EXPECT_EQ(failure.what(),
              "deadlock in a simulated world of 4 ranks (seed 17): no rank can go on\n"
              "  rank 0: recv from rank 2 (tag 3, 1 value) in group pp {0, 2}, called at " +
                  at(0) +
                  "\n"
                  "  rank 1: broadcast of 1 value from rank 3, waits for rank 3, which has "
                  "finished, in group pp {1, 3}, called at " +
                  at(1) +
                  "\n"
                  "  rank 2: wait for isend to rank 3, which has finished (tag 5, 1 value) in "
                  "group world {0-3}, called at " +
                  at(3) + ", waited for at " + at(4) +
                  "\n"
                  "  rank 3: has finished");
    EXPECT_EQ(failure.waits().size(), 3U);
  }
}

TEST(CommSim, DeadlockOfTwoBlockingSends) {
  expect_sim_failure(Kind::deadlock,
                     {"rank 0: send to rank 1 (tag 0, 1 value)", "rank 1: send to rank 0"}, 2,
                     [](Comm& world) {
                       float value = 0.0F;
                       world.send({&value, 1}, 1 - world.rank(), 0);
                       world.recv({&value, 1}, 1 - world.rank(), 0);
                     });
}

TEST(CommSim, DeadlockOfASendToItself) {
  expect_sim_failure(Kind::deadlock, {"rank 0: send to rank 0 (tag 0, 1 value)"}, 1,
                     [](Comm& world) {
                       float value = 0.0F;
                       world.send({&value, 1}, 0, 0);
                     });
}

TEST(CommSim, DeadlockOfLendersThatOweEachOther) {
  // With messages this would do: but a loan is over only when it has been given back.
  const SimFailure failure = expect_sim_failure(
      Kind::deadlock, {"rank 0: wait for lend to rank 1 (tag 4", "rank 1: wait for lend to rank 0"},
      2, [](Comm& world) {
        const std::size_t other = 1 - world.rank();
        const std::array<float, 3> mine{};
        std::array<float, 3> room{};
        Request borrowed = world.borrow(room, other, 4);
        Request lent = world.lend(mine, other, 4);
        world.wait(lent);
        world.wait(borrowed);
      });
  EXPECT_EQ(failure.waits().size(), 2U);
}

TEST(CommSim, DeadlockOfALoanThatIsReceivedAsAMessage) {
  expect_sim_failure(Kind::deadlock, {"wait for lend to rank 1", "recv from rank 0"}, 2,
                     [](Comm& world) {
                       float value = 0.0F;
                       if (world.rank() == 1) return world.recv({&value, 1}, 0, 1);
                       Request lent = world.lend({&value, 1}, 1, 1);
                       world.wait(lent);
                     });
}

TEST(CommSim, MismatchOfALoan) {
  expect_sim_failure(
      Kind::mismatch, {"rank 0 sends 2 values and rank 1 receives 1 value"}, 2, [](Comm& world) {
        std::array<float, 2> values{};
        Request loan =
            world.rank() == 0 ? world.lend(values, 1, 1) : world.borrow({values.data(), 1}, 0, 1);
        world.wait(loan);
      });
}

TEST(CommSim, DeadlockOfOtherTags) {
  expect_sim_failure(Kind::deadlock, {"send to rank 1 (tag 1", "recv from rank 0 (tag 2"}, 2,
                     [](Comm& world) {
                       float value = 0.0F;
                       if (world.rank() == 0) world.send({&value, 1}, 1, 1);
                       if (world.rank() == 1) world.recv({&value, 1}, 0, 2);
                     });
}

TEST(CommSim, MessagesOfOtherGroupsDoNotMatch) {
  expect_sim_failure(Kind::deadlock, {"in group world {0, 1}", "in group pair {0, 1}"}, 2,
                     [](Comm& world) {
                       const auto pair = world.split("pair", 0, world.rank());
                       float value = 0.0F;
                       if (world.rank() == 0) world.send({&value, 1}, 1, 1);
                       if (world.rank() == 1) pair->recv({&value, 1}, 0, 1);
                     });
}

TEST(CommSim, DeadlockOfACollectiveThatOneRankMisses) {
  int line = 0;
  const SimFailure failure = expect_sim_failure(
      Kind::deadlock, {"rank 3: has finished", "all_gather with counts {1, 1, 1, 1}"}, 4,
      [&](Comm& world) {
        if (world.rank() == 3) return;
        const std::vector<std::size_t> counts(4, 1);
        const float mine = 0.0F;
        std::array<float, 4> all{};
        line = __LINE__ + 1;
        world.all_gather({&mine, 1}, all, counts);
      });
  ASSERT_EQ(failure.waits().size(), 3U);
  EXPECT_EQ(failure.waits()[1].operation, "all_gather");
  EXPECT_EQ(failure.waits()[1].waits_for, "rank 3, which has finished");
  EXPECT_EQ(failure.waits()[1].site.line, line);
}

TEST(CommSim, DeadlockOfTwoGroupsInOppositeOrder) {
  expect_sim_failure(Kind::deadlock,
                     {"rank 0: barrier, waits for rank 1, in group a {0, 1}",
                      "rank 1: barrier, waits"
                      " for rank 0, in group b {0, 1}"},
                     2, [](Comm& world) {
                       const auto a = world.split("a", 0, 0);
                       const auto b = world.split("b", 0, 0);
                       (world.rank() == 0 ? a : b)->barrier();
                       (world.rank() == 0 ? b : a)->barrier();
                     });
}

TEST(CommSim, LargeWorldReportsADeadlockAtOnce) {
  std::chrono::steady_clock::time_point last_call;
  try {
    run_simulated({.ranks = 256, .seed = 1}, [&](Comm& world) {
      float value = 0.0F;
      last_call = std::chrono::steady_clock::now();
      world.recv({&value, 1}, (world.rank() + 255) % 256, 0);
    });
    ADD_FAILURE() << "no failure";
  } catch (const SimFailure& failure) {
    EXPECT_LT(std::chrono::steady_clock::now() - last_call, std::chrono::seconds(1));
    EXPECT_EQ(name_of(failure.kind()), "deadlock");
    EXPECT_EQ(failure.waits().size(), 256U);
    EXPECT_NE(std::string(failure.what())
                  .find("rank 255: recv from rank 254 (tag 0, 1 value) in "
                        "group world {0-255}"),
              std::string::npos)
        << failure.what();
  }
}

TEST(CommSim, MismatchOfTwoOperations) {
  int line = 0;
  const SimFailure failure = expect_sim_failure(
      Kind::mismatch,
      {"the ranks of group world {0, 1} disagree on the operation", "rank 0: barrier in group",
       "rank 1: native_all_reduce of 1 value in group"},
      2, [&](Comm& world) {
        float value = 0.0F;
        line = __LINE__ + 1;
        if (world.rank() == 0) return world.barrier();
        world.native_all_reduce({&value, 1});
      });
  ASSERT_EQ(failure.waits().size(), 2U);
  EXPECT_EQ(failure.waits()[0].operation, "barrier");
  EXPECT_EQ(failure.waits()[0].site.line, line);
  EXPECT_EQ(failure.waits()[1].operation, "native_all_reduce");
  EXPECT_EQ(failure.waits()[1].site.line, line + 1);
}

TEST(CommSim, MismatchIsSeenAlthoughARankIsMissing) {
  expect_sim_failure(Kind::mismatch,
                     {"disagree on the operation", "rank 0: barrier, waits for rank 2,",
                      "rank 2: recv from rank 0"},
                     3, [](Comm& world) {
                       float value = 0.0F;
                       if (world.rank() == 0) world.barrier();
                       if (world.rank() == 1) world.broadcast({&value, 1}, 0);
                       if (world.rank() == 2) world.recv({&value, 1}, 0, 0);
                     });
}

TEST(CommSim, MismatchOfRootsAndSizes) {
  std::array<float, 3> values{};
  std::array<std::uint64_t, 3> integers{};
  expect_sim_failure(Kind::mismatch, {"disagree on the root", "from rank 0", "from rank 1"}, 2,
                     [&](Comm& world) { world.broadcast(values, world.rank()); });
  expect_sim_failure(Kind::mismatch, {"disagree on the size", "of 1 value ", "of 2 values "}, 2,
                     [&](Comm& world) {
                       world.broadcast({values.data(), 1 + world.rank()}, 0);
                     });
  expect_sim_failure(Kind::mismatch, {"disagree on the size", "native_all_reduce of 3 values "}, 3,
                     [&](Comm& world) {
                       world.native_all_reduce({values.data(), 1 + world.rank()});
                     });
  expect_sim_failure(Kind::mismatch, {"disagree on the size", "all_reduce_maximum of 1 value "}, 2,
                     [&](Comm& world) {
                       world.all_reduce_maximum({values.data(), 1 + world.rank()});
                     });
  expect_sim_failure(Kind::mismatch, {"disagree on the size", "all_reduce_integers of 0 values "},
                     3, [&](Comm& world) {
                       world.all_reduce_integers({integers.data(), world.rank()});
                     });
}

TEST(CommSim, MismatchOfCounts) {
  std::array<float, 3> values{};
  const auto counts_of = [](const Comm& world) {
    return world.rank() == 0 ? std::vector<std::size_t>{1, 2} : std::vector<std::size_t>{2, 1};
  };
  expect_sim_failure(Kind::mismatch, {"disagree on the counts", "with counts {1, 2}", "{2, 1}"}, 2,
                     [&](Comm& world) {
                       const float mine = 0.0F;
                       world.all_gather({&mine, 1}, values, counts_of(world));
                     });
  expect_sim_failure(Kind::mismatch, {"disagree on the counts", "native_reduce_scatter"}, 2,
                     [&](Comm& world) {
                       float mine = 0.0F;
                       world.native_reduce_scatter(values, {&mine, 1}, counts_of(world));
                     });
}

TEST(CommSim, MismatchOfAllToAllPairs) {
  expect_sim_failure(Kind::mismatch,
                     {"disagree on how many values rank 0 sends to rank 1 (2 sent, 1 expected)",
                      "rank 0: all_to_all sending {0, 2} and expecting {0, 0}",
                      "rank 1: all_to_all sending {0, 0} and expecting {1, 0}"},
                     2, [](Comm& world) {
                       std::array<float, 2> outgoing{};
                       std::array<float, 2> incoming{};
                       const bool first = world.rank() == 0;
                       const std::vector<std::size_t> sent = {0, first ? 2U : 0U};
                       const std::vector<std::size_t> expected = {first ? 0U : 1U, 0};
                       world.all_to_all({outgoing.data(), sent[1]}, sent,
                                        {incoming.data(), expected[0]}, expected);
                     });
}

TEST(CommSim, MismatchOfTheNamesOfANewGroup) {
  expect_sim_failure(Kind::mismatch,
                     {"disagree on the name of the new group of colour 7 (tp or dp)",
                      "rank 1: split into dp with colour 7"},
                     2, [](Comm& world) { world.split(world.rank() == 0 ? "tp" : "dp", 7, 0); });
}

TEST(CommSim, MismatchOfSendAndReceiveSizes) {
  int line = 0;
  const SimFailure failure =
      expect_sim_failure(Kind::mismatch,
                         {"rank 0 sends 2 values and rank 1 receives 3 values",
                          "rank 0: send to rank 1 (tag 0, 2 values)", "rank 1: irecv from rank 0"},
                         2, [&](Comm& world) {
                           std::array<float, 3> values{};
                           line = __LINE__ + 1;
                           if (world.rank() == 0) return world.send({values.data(), 2}, 1, 0);
                           Request request = world.irecv(values, 0, 0);
                           world.wait(request);
                         });
  ASSERT_EQ(failure.waits().size(), 2U);
  EXPECT_EQ(failure.waits()[0].site.line, line);
  EXPECT_EQ(failure.waits()[1].site.line, line + 1);
}

TEST(CommSim, RanksStartWithTheEnvironmentOfTheContract) {
  std::fesetround(FE_UPWARD);
  std::vector<int> modes(3, -1);
  run_simulated({.ranks = 3}, [&](Comm& world) {
    world.barrier();
    modes[world.rank()] = std::fegetround();
  });
  std::fesetenv(FE_DFL_ENV);
  EXPECT_EQ(modes, std::vector<int>(3, FE_TONEAREST));
}

TEST(CommSim, ARankWhoseEnvironmentWasChangedIsNoResult) {
  const auto world_with_a_bent_rank = [] {
    run_simulated({.ranks = 3}, [](Comm& world) {
      if (world.rank() == 1) std::fesetround(FE_UPWARD);
      world.barrier();
    });
  };
  EXPECT_THROW(world_with_a_bent_rank(), EnvironmentError);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST) << "of the caller";
}

}  // namespace
}  // namespace meshparity
