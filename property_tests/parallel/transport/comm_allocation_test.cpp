// After the first rounds no operation of a simulated world takes memory. Counts every
// allocation, so it is a program of its own.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/allocations.h"

namespace meshparity {
namespace {

TEST(CommSim, OperationsTakeNoMemoryAfterTheFirstRound) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    run_simulated({.ranks = 6, .seed = seed}, [&](Comm& world) {
      const std::size_t n = world.size();
      const std::vector<std::size_t> counts(n, 2);
      std::vector<float> mine(2);
      std::vector<float> all(2 * n);
      std::vector<float> more(2 * n);
      std::vector<Request> requests(2 * n);
      std::array<std::uint64_t, 3> integers{};
      const auto round = [&] {
        for (std::size_t r = 0; r < n; ++r) {
          requests[r] = world.irecv({&all[2 * r], 2}, r, 0);
          requests[n + r] = world.isend(mine, r, 0);
        }
        for (Request& request : requests) world.wait(request);
        if (world.rank() % 2 == 0) world.send(mine, world.rank() + 1, 1);
        if (world.rank() % 2 == 1) world.recv(mine, world.rank() - 1, 1);
        world.broadcast(mine, 3);
        world.all_gather(mine, all, counts);
        world.all_to_all(all, counts, more, counts);
        world.barrier();
        world.all_reduce_integers(integers);
        world.all_reduce_maximum(all);
        world.native_all_reduce(all);
        world.native_reduce_scatter(all, mine, counts);
      };
      round();
      const std::size_t after_one_round = allocations();
      EXPECT_GT(after_one_round, 0U);
      for (int i = 0; i < 5; ++i) round();
      EXPECT_EQ(allocations(), after_one_round) << "rank " << world.rank() << ", seed " << seed;
    });
  }
}

}  // namespace
}  // namespace meshparity
