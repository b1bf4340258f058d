// Loans in a simulated world: what a borrower sees while it has one, and after it gave it back.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

TEST(CommSim, LoansAreSeenWhereTheyStandOrMoved) {
  std::set<bool> moved;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::array<float, 2> values{1.0F, 2.0F};  // of rank 0
    bool given_back = false;
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      if (world.rank() == 0) {
        Request lent = world.lend(values, 1, 1);
        world.wait(lent);
        EXPECT_TRUE(given_back);
        return;
      }
      std::array<float, 2> room{};
      Request borrowed = world.borrow(room, 0, 1);
      const std::span<const float> read = world.read(borrowed);
      EXPECT_TRUE(std::ranges::equal(read, values));
      EXPECT_TRUE(read.data() == values.data() || read.data() == room.data());
      moved.insert(read.data() == room.data());
      given_back = true;
      world.wait(borrowed);
    });
  }
  EXPECT_EQ(moved.size(), 2U);
}

TEST(CommSim, ALoanChangedTooEarlyArrivesCorrupted) {
  std::set<float> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    run_simulated({.ranks = 2, .seed = seed}, [&](Comm& world) {
      float value = 1.0F;
      if (world.rank() == 0) {
        Request lent = world.lend({&value, 1}, 1, 1);
        world.barrier();
        value = 2.0F;
        world.barrier();
        world.wait(lent);
      } else {
        Request borrowed = world.borrow({&value, 1}, 0, 1);
        (void)world.read(borrowed);
        world.barrier();
        world.barrier();
        seen.insert(world.read(borrowed)[0]);
        world.wait(borrowed);
      }
    });
  }
  EXPECT_EQ(seen, (std::set<float>{1.0F, 2.0F}));
}

TEST(CommSim, ALoanReadAfterItWasGivenBackMayHaveChanged) {
  std::set<float> seen;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    float value = 1.0F;
    run_simulated({.ranks = 2, .seed = seed, .loans = SimOptions::Loans::in_place},
                  [&](Comm& world) {
                    if (world.rank() == 0) {
                      Request lent = world.lend({&value, 1}, 1, 1);
                      world.wait(lent);
                      value = 2.0F;
                    } else {
                      float room = 0;
                      Request borrowed = world.borrow({&room, 1}, 0, 1);
                      const std::span<const float> read = world.read(borrowed);
                      world.wait(borrowed);
                      seen.insert(read[0]);  // too late
                    }
                  });
  }
  EXPECT_TRUE(seen.contains(2.0F)) << "no seed shows the mistake";
}

}  // namespace
}  // namespace meshparity
