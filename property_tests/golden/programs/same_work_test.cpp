// Ranks that would do different work: all of them are told what differs, and where.

#include "golden/programs/same_work.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "model/error.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

struct Refusal {
  std::string what;
  std::string hint;
};

/// What all of so many ranks are told alike; `change` makes a rank's items its own.
Refusal refusal(std::size_t ranks,
                const std::function<void(std::size_t rank, std::vector<WorkItem>&)>& change) {
  std::vector<Refusal> all(ranks);
  run_simulated({.ranks = ranks}, [&](Comm& world) {
    std::vector<WorkItem> items = {{"program", "1.0 aa"}, {"instruction set", "scalar"},
                                   {"lr", "0.1"},         {"batch", "4"},
                                   {"steps", "9"},        {"seed", "1"}};
    change(world.rank(), items);
    try {
      require_same_work(items, world);
    } catch (const UsageError& error) {
      all[world.rank()] = {error.what(), error.hint()};
    }
  });
  for (const Refusal& other : all) {
    EXPECT_EQ(other.what, all[0].what);
    EXPECT_EQ(other.hint, all[0].hint);
  }
  return all[0];
}

TEST(SameWork, IsNotRefused) {
  EXPECT_EQ(refusal(5, [](std::size_t, std::vector<WorkItem>&) {}).what, "");
}

TEST(SameWork, RanksThatDifferAreNamed) {
  const auto with_other_lr = [](std::size_t ranks, std::size_t first, std::size_t last) {
    return refusal(ranks,
                   [=](std::size_t rank, std::vector<WorkItem>& items) {
                     if (first <= rank && rank <= last) items[2].text = "0." + std::to_string(rank);
                   })
        .what;
  };
  const std::string said = "ranks would do different work: lr is '0.1' on rank 0 and ";
  EXPECT_EQ(with_other_lr(3, 2, 2), said + "'0.2' on rank 2");
  EXPECT_EQ(with_other_lr(4, 2, 3), said + "'0.2' on ranks 2 and 3 (of the first of them)");
  EXPECT_EQ(with_other_lr(12, 2, 9),
            said + "'0.2' on ranks 2, 3, 4, 5, 6, 7, 8 and 9 (of the first of them)");
  EXPECT_EQ(with_other_lr(12, 2, 11),
            said + "'0.2' on ranks 2, 3, 4, 5, 6, 7, 8, 9 and 2 more (of the first of them)");
}

TEST(SameWork, ThreeDifferencesAreTold) {
  const Refusal found = refusal(2, [](std::size_t rank, std::vector<WorkItem>& items) {
    for (std::size_t i = 1; i < items.size(); ++i) items[i].text += std::to_string(rank);
  });
  EXPECT_EQ(found.what,
            "ranks would do different work: instruction set is 'scalar0' on rank 0 and 'scalar1' "
            "on rank 1; lr is '0.10' on rank 0 and '0.11' on rank 1; batch is '40' on rank 0 and "
            "'41' on rank 1; and 2 more differences");
  EXPECT_EQ(found.hint, "give every rank the same program, command line, recipe, corpus and model");
}

/// Its other items may not be the same ones in number.
TEST(SameWork, OfAnotherProgramNothingElseIsTold) {
  const Refusal found = refusal(2, [](std::size_t rank, std::vector<WorkItem>& items) {
    if (rank == 0) return;
    items = {{"program", "1.1 bb"}, {"lr", "7"}};
  });
  EXPECT_EQ(found.what,
            "ranks would do different work: program is '1.0 aa' on rank 0 and '1.1 bb' on rank 1");
}

TEST(SameWork, LongTextsAreCut) {
  const std::string text(200, 't');
  const Refusal found = refusal(2, [&](std::size_t rank, std::vector<WorkItem>& items) {
    items[2].text = text + std::to_string(rank);
  });
  const std::string beginning = text.substr(0, 80);
  EXPECT_EQ(found.what, "ranks would do different work: lr is '" + beginning + "' on rank 0 and '" +
                            beginning + "' on rank 1");
}

}  // namespace
}  // namespace meshparity
