#include "parallel/reducer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "oracle/compare.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/parallel/reducer_cases.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// Few elements, which every rank adds up alone, or so many that each rank owns a share.
std::size_t random_width(std::size_t ranks) {
  if (*from_to(0, 2) > 0) return *from_to(0, 40);
  const std::size_t longest_short = Reducer::longest_short_sum(ranks);
  return longest_short - 100 + (*rc::gen::arbitrary<bool>() ? *from_to(0, 200) : *from_to(0, 5000));
}

Range all_of(const Leaves& leaves) { return {0, leaves.front().size()}; }

/// Why two sums differ; empty if they hold the same nodes and the same bits.
std::string difference(const PartialSum& actual, const PartialSum& expected) {
  if (!std::equal(actual.nodes().begin(), actual.nodes().end(), expected.nodes().begin(),
                  expected.nodes().end())) {
    return "other nodes";
  }
  if (actual.width() != expected.width()) return "another width";
  for (std::size_t n = 0; n < expected.nodes().size(); ++n) {
    for (std::size_t i = 0; i < expected.width(); ++i) {
      const float a = actual.values(n)[i];
      const float e = expected.values(n)[i];
      if (same_float(a, e)) continue;
      return "node " + std::to_string(n) + ", element " + std::to_string(i) + ": " +
             std::to_string(a) + " for " + std::to_string(e);
    }
  }
  return "";
}

/// What a group reduces, perhaps several times over: which leaves each rank has, and how wide.
struct Round {
  std::vector<Range> runs;  // [rank]
  std::size_t width = 0;
  Leaves leaves;

  Range whole() const { return {runs.front().begin, runs.back().end}; }
};

RC_GTEST_PROP(Collectives, AnySplitOfLeavesGivesTheBitsOfOneStream, ()) {
  const std::size_t ranks = *from_to(1, 12);
  const std::size_t leaf_total = *from_to(1, 30);
  std::vector<Round> rounds(*from_to(1, 3));
  bool part_of_the_tree = false;
  bool few_elements = false;
  bool shared_out = false;
  bool in_place = false;
  for (Round& round : rounds) {
    const bool whole = *rc::gen::arbitrary<bool>();
    const Range covered = whole ? Range{0, leaf_total} : random::random_run(leaf_total);
    round.runs = random::random_split(covered, ranks);
    round.width = random_width(ranks);
    round.leaves = random_leaves(leaf_total, round.width, *random::kind_of_floats());
    part_of_the_tree = part_of_the_tree || !whole;
    few_elements = few_elements || round.width < ranks;
    shared_out = shared_out || round.width > Reducer::longest_short_sum(ranks);
    in_place = in_place || fits_in_place(round.whole(), leaf_total);
  }
  RC_CLASSIFY(part_of_the_tree, "part of the tree");
  RC_CLASSIFY(few_elements, "fewer elements than ranks");
  RC_CLASSIFY(shared_out, "shared out among the ranks");
  RC_CLASSIFY(in_place, "in place");
  RC_CLASSIFY(ranks == 1, "one rank");
  RC_CLASSIFY(ranks > 10, "more than 10 ranks");

  std::vector<std::string> wrong;
  run_simulated({.ranks = ranks, .seed = *random::any_seed()}, [&](Comm& group) {
    Reducer reducer(group, Reduction::canonical, leaf_total);
    std::size_t widest = 0;
    for (const Round& round : rounds) widest = std::max(widest, round.width);
    for (const Round& round : rounds) reducer.reserve(round.runs, widest);
    for (const Round& round : rounds) {
      PartialSum mine = stream(round.leaves, round.runs[group.rank()], {0, round.width});
      const Range share = share_of(round.width, ranks, group.rank());
      PartialSum chunk(leaf_total, round.whole(), share.size());
      reducer.reduce_scatter(mine, round.runs, chunk);
      wrong.push_back(difference(chunk, stream(round.leaves, round.whole(), share)));

      PartialSum whole(leaf_total, round.whole(), round.width);
      reducer.all_reduce(mine, round.runs, whole);
      const PartialSum expected = stream(round.leaves, round.whole(), all_of(round.leaves));
      wrong.push_back(difference(whole, expected));

      if (!fits_in_place(round.whole(), leaf_total)) continue;
      PartialSum again = mine;
      reducer.all_reduce(mine, round.runs, mine);
      wrong.push_back(difference(mine, expected));
      reducer.reduce_scatter(again, round.runs, again);
      all_gather_nodes(reducer, again);
      wrong.push_back(difference(again, expected));
    }
  });
  std::erase(wrong, "");
  RC_ASSERT(wrong == std::vector<std::string>());
}

/// Two ranks and a sum that is several messages long.
void expect_long_sums(const std::vector<Range>& runs) {
  constexpr std::size_t kRanks = 2;
  constexpr std::size_t kLeaves = 4;
  const std::size_t width = kRanks * Reducer::longest_message(kRanks) + 250001;
  Leaves leaves(kLeaves, std::vector<float>(width));
  for (std::size_t leaf = 0; leaf < kLeaves; ++leaf) {
    for (std::size_t i = 0; i < width; ++i) {
      leaves[leaf][i] = 1.0F / static_cast<float>(1 + leaf + i % 977);
    }
  }
  run_simulated({.ranks = kRanks, .seed = 1}, [&](Comm& group) {
    const Range covered{runs.front().begin, runs.back().end};
    const Range share = share_of(width, kRanks, group.rank());
    Reducer reducer(group, Reduction::canonical, kLeaves);
    reducer.reserve(runs, width);
    PartialSum mine = stream(leaves, runs[group.rank()], {0, width});
    PartialSum chunk(kLeaves, covered, share.size());
    reducer.reduce_scatter(mine, runs, chunk);
    EXPECT_EQ(difference(chunk, stream(leaves, covered, share)), "");
    PartialSum whole(kLeaves, covered, width);
    reducer.all_reduce(mine, runs, whole);
    const PartialSum expected = stream(leaves, covered, {0, width});
    EXPECT_EQ(difference(whole, expected), "");
    if (!fits_in_place(covered, kLeaves)) return;
    PartialSum again = mine;
    reducer.all_reduce(mine, runs, mine);
    EXPECT_EQ(difference(mine, expected), "");
    reducer.reduce_scatter(again, runs, again);
    all_gather_nodes(reducer, again);
    EXPECT_EQ(difference(again, expected), "");
  });
}

TEST(Collectives, LongSumsTravelInPieces) {
  expect_long_sums({{0, 1}, {1, 4}});  // the whole tree from uneven runs
  expect_long_sums({{1, 2}, {2, 3}});  // a part of it that is two nodes
}

TEST(Collectives, ASumOfSeveralNodesCannotBeFinishedInPlace) {
  const std::vector<meshparity::Range> runs = {{1, 2}, {2, 3}};
  const auto reduce = [&](Reduction reduction, auto in_place) {
    run_simulated({.ranks = 2}, [&](Comm& group) {
      Reducer reducer(group, reduction, 4);
      reducer.reserve(runs, 1);
      PartialSum sum = stream(Leaves(4, {1}), runs[group.rank()], {0, 1});
      in_place(reducer, sum);
    });
  };
  for (const Reduction reduction : {Reduction::canonical, Reduction::native}) {
    EXPECT_THROW(
        reduce(reduction, [&](Reducer& r, PartialSum& sum) { r.all_reduce(sum, runs, sum); }),
        std::logic_error);
    EXPECT_THROW(
        reduce(reduction, [&](Reducer& r, PartialSum& sum) { r.reduce_scatter(sum, runs, sum); }),
        std::logic_error);
  }
}

TEST(Collectives, ASumThatNoMemoryWasReservedForIsRefused) {
  // As many values arrive as were reserved for, but there is no room for the tree above them.
  const std::vector<meshparity::Range> reserved = {{0, 3}, {3, 8}};  // two nodes from each
  const std::vector<meshparity::Range> used = {{0, 4}, {4, 8}};      // one node from each
  const auto reduce = [&](std::size_t width) {
    run_simulated({.ranks = 2}, [&](Comm& group) {
      Reducer reducer(group, Reduction::canonical, 8);
      reducer.reserve(reserved, 4);
      const std::vector<float> leaf(width, 1.0F);
      PartialSum mine(8, used[group.rank()], width);
      mine.start(used[group.rank()], width);
      for (std::size_t i = 0; i < 4; ++i) {
        std::ranges::copy(leaf, mine.next().begin());
        mine.push();
      }
      PartialSum whole(8, meshparity::Range{0, 8}, width);
      whole.start({0, 8}, width);
      reducer.all_reduce(mine, used, whole);
      EXPECT_EQ(whole.total().back(), 8.0F);
    });
  };
  EXPECT_NO_THROW(reduce(4));
  EXPECT_THROW(reduce(8), std::logic_error);
}

TEST(Collectives, SeveralReductionsMayBeUnderWay) {
  constexpr std::size_t kRanks = 3;
  const std::size_t several_messages = kRanks * Reducer::longest_message(kRanks);
  const std::size_t widths[] = {several_messages + 70001, 5, several_messages + 170000};
  const std::vector<meshparity::Range> runs = shares_of({0, kRanks}, kRanks);
  std::vector<Leaves> leaves;
  for (const std::size_t width : widths) {
    auto& of_sum = leaves.emplace_back(kRanks, std::vector<float>(width));
    for (std::size_t leaf = 0; leaf < kRanks; ++leaf) {
      for (std::size_t i = 0; i < width; ++i) {
        of_sum[leaf][i] = 1.0F / static_cast<float>(width + leaf + i % 1009);
      }
    }
  }
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    run_simulated({.ranks = kRanks, .seed = seed}, [&](Comm& group) {
      std::vector<PartialSum> mine;
      std::vector<Reducer> reducers;
      for (std::size_t s = 0; s < leaves.size(); ++s) {
        mine.push_back(stream(leaves[s], runs[group.rank()], {0, widths[s]}));
        reducers.emplace_back(group, Reduction::canonical, kRanks, s).reserve(runs, widths[s]);
      }
      for (std::size_t s = 0; s < leaves.size(); ++s) reducers[s].begin_all_reduce(mine[s], runs);
      // In another order than they began.
      for (std::size_t s = leaves.size(); s-- > 0;) {
        PartialSum whole(kRanks, meshparity::Range{0, kRanks}, widths[s]);
        reducers[s].finish_all_reduce(whole);
        EXPECT_EQ(difference(whole, stream(leaves[s], {0, kRanks}, {0, widths[s]})), "");
      }
    });
  }
}

/// A batch spread over replicas, microbatches and sharding ranks: [dp][microbatch][fsdp].
struct TwoLevels {
  std::size_t dp = 1;
  std::size_t fsdp = 1;
  std::vector<Range> replicas;
  std::vector<std::vector<std::vector<Range>>> runs;

  TwoLevels(std::size_t leaf_total, std::size_t microbatches) {
    dp = *from_to(1, 4);
    fsdp = *from_to(1, 4);
    replicas = random::random_split({0, leaf_total}, dp);
    for (const Range replica : replicas) {
      auto& of_replica = runs.emplace_back();
      for (const Range microbatch : random::random_split(replica, microbatches)) {
        of_replica.push_back(random::random_split(microbatch, fsdp));
      }
    }
  }
};

RC_GTEST_PROP(Collectives, TwoLevelsGiveTheBitsOfOneStream, ()) {
  const std::size_t leaf_total = *from_to(1, 30);
  const std::size_t width = *from_to(0, 12);
  const TwoLevels batch(leaf_total, *from_to(1, 5));
  const Leaves leaves = random_leaves(leaf_total, width, *random::kind_of_floats());
  const bool scatter = *rc::gen::arbitrary<bool>();
  RC_CLASSIFY(scatter, "reduce_scatter first");
  RC_CLASSIFY(batch.dp > 1 && batch.fsdp > 1, "two axes");

  std::vector<std::string> wrong;
  run_simulated({.ranks = batch.dp * batch.fsdp, .seed = *random::any_seed()}, [&](Comm& world) {
    const std::size_t replica = world.rank() / batch.fsdp;
    const std::unique_ptr<Comm> fsdp = world.split("fsdp", replica, world.rank());
    const std::unique_ptr<Comm> dp = world.split("dp", fsdp->rank(), world.rank());
    const auto& microbatches = batch.runs[replica];

    Reducer inner(*fsdp, Reduction::canonical, leaf_total);
    for (const auto& runs : microbatches) inner.reserve(runs, width);
    const Range mine = scatter ? share_of(width, batch.fsdp, fsdp->rank()) : Range{0, width};
    Reducer outer(*dp, Reduction::canonical, leaf_total);
    outer.reserve(batch.replicas, mine.size());

    PartialSum replica_sum(leaf_total, batch.replicas[replica], mine.size());
    for (const auto& runs : microbatches) {
      const PartialSum part = stream(leaves, runs[fsdp->rank()], {0, width});
      if (scatter) {
        inner.reduce_scatter(part, runs, replica_sum);
      } else {
        inner.all_reduce(part, runs, replica_sum);
      }
    }
    PartialSum total(leaf_total, Range{0, leaf_total}, mine.size());
    outer.all_reduce(replica_sum, batch.replicas, total);
    wrong.push_back(difference(total, stream(leaves, {0, leaf_total}, mine)));
  });
  std::erase(wrong, "");
  RC_ASSERT(wrong == std::vector<std::string>());
}

}  // namespace
}  // namespace meshparity
