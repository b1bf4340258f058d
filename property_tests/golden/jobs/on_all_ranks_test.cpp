// What fails on one rank is thrown on all of them.

#include "golden/jobs/on_all_ranks.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

constexpr std::size_t kRanks = 4;

/// What every rank was thrown, "" if nothing. All of them can go on afterwards.
std::vector<std::string> failures(const std::function<void(std::size_t rank)>& work) {
  std::vector<std::string> thrown(kRanks);
  run_simulated({.ranks = kRanks, .seed = 3}, [&](Comm& world) {
    try {
      on_all_ranks(&world, [&] { work(world.rank()); });
    } catch (const SharedFailure& failure) {
      thrown[world.rank()] = failure.what();
    }
    std::vector<std::uint64_t> here(1, 1);
    world.all_reduce_integers(here);
    EXPECT_EQ(here[0], kRanks);
  });
  return thrown;
}

std::vector<std::string> everywhere(const std::string& text) { return {kRanks, text}; }

TEST(OnAllRanks, NothingIsThrownIfNothingFails) {
  std::vector<int> done(kRanks, 0);
  EXPECT_EQ(failures([&](std::size_t rank) { ++done[rank]; }), everywhere(""));
  EXPECT_EQ(done, std::vector<int>(kRanks, 1));
}

TEST(OnAllRanks, OneRanksFailureIsThatOfAll) {
  for (std::size_t failing = 0; failing < kRanks; ++failing) {
    const std::string why = "no room on rank " + std::to_string(failing);
    EXPECT_EQ(failures([&](std::size_t rank) {
                if (rank == failing) throw EnvironmentError(why);
              }),
              everywhere(why));
  }
}

TEST(OnAllRanks, OfSeveralTheLowestIsTold) {
  EXPECT_EQ(failures([](std::size_t rank) {
              if (rank % 2 == 1) throw UsageError("rank " + std::to_string(rank));
            }),
            everywhere("rank 1"));
}

TEST(OnAllRanks, AFailureWithoutWordsIsOneAllTheSame) {
  EXPECT_EQ(failures([](std::size_t rank) {
              if (rank == 2) throw std::runtime_error("");
            }),
            everywhere("unknown failure"));
}

TEST(OnAllRanks, ALongMessageIsCut) {
  const std::string text(3000, 'w');
  EXPECT_EQ(failures([&](std::size_t rank) {
              if (rank == 3) throw std::runtime_error(text);
            }),
            everywhere(text.substr(0, 1023)));
}

TEST(OnAllRanks, WhoIsAloneHasItsOwnFailure) {
  EXPECT_NO_THROW(on_all_ranks(nullptr, [] {}));
  const std::string text(3000, 'w');
  try {
    on_all_ranks(nullptr, [&] { throw std::runtime_error(text); });
    FAIL() << "nothing was thrown";
  } catch (const SharedFailure& failure) {
    EXPECT_EQ(failure.what(), text);
  }
}

}  // namespace
}  // namespace meshparity
