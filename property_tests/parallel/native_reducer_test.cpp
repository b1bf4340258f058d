// Reductions in the transport's own order: judged by a bound that holds for any order.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "parallel/reducer.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/parallel/reducer_cases.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// Higham's bound on a sum of n terms in any order: gamma(n - 1) * sum |x|, with
/// gamma(k) = k u / (1 - k u). (Accuracy and Stability of Numerical Algorithms, 2nd ed., section
/// 4.2.) Adding 0 is exact.
double any_order_bound(const Leaves& leaves, Range run, std::size_t element) {
  double magnitudes = 0;
  for (std::size_t leaf = run.begin; leaf < run.end; ++leaf) {
    magnitudes += std::abs(static_cast<double>(leaves[leaf][element]));
  }
  const double rounding = run.empty() ? 0 : static_cast<double>(run.size() - 1) * 0x1p-24;
  return rounding / (1 - rounding) * magnitudes;
}

/// Why the nodes of a sum do not add up to the exact sum within the bound.
std::string beyond_bound(const PartialSum& sum, const Leaves& leaves, Range run, Range share) {
  if (sum.pushed() != run) return "other leaves";
  for (std::size_t i = 0; i < share.size(); ++i) {
    double exact = 0;  // terms are multiples of 2^-20 below 2
    for (std::size_t leaf = run.begin; leaf < run.end; ++leaf) {
      exact += static_cast<double>(leaves[leaf][share.begin + i]);
    }
    double actual = 0;
    for (std::size_t n = 0; n < sum.nodes().size(); ++n) {
      actual += static_cast<double>(sum.values(n)[i]);
    }
    if (std::abs(actual - exact) <= any_order_bound(leaves, run, share.begin + i)) continue;
    return "element " + std::to_string(i) + ": " + std::to_string(actual) + " for " +
           std::to_string(exact);
  }
  return "";
}

RC_GTEST_PROP(Collectives, NativeSumsStayWithinTheBoundOfAnyOrder, ()) {
  const std::size_t ranks = *from_to(1, 12);
  const std::size_t leaf_total = *from_to(1, 30);
  const Range whole =
      *rc::gen::arbitrary<bool>() ? Range{0, leaf_total} : random::random_run(leaf_total);
  const std::vector<Range> runs = random::random_split(whole, ranks);
  const std::size_t width = *from_to(1, 20);
  const Leaves leaves = random_leaves(leaf_total, width, random::moderate_float());
  std::vector<std::string> wrong;
  std::vector<std::vector<float>> sums(ranks);
  run_simulated({.ranks = ranks, .seed = *random::any_seed()}, [&](Comm& group) {
    Reducer reducer(group, Reduction::native, leaf_total);
    reducer.reserve(runs, width);
    PartialSum mine = stream(leaves, runs[group.rank()], {0, width});
    const Range share = share_of(width, ranks, group.rank());
    PartialSum chunk(leaf_total, whole, share.size());
    reducer.reduce_scatter(mine, runs, chunk);
    wrong.push_back(beyond_bound(chunk, leaves, whole, share));
    PartialSum all(leaf_total, whole, width);
    reducer.all_reduce(mine, runs, all);
    wrong.push_back(beyond_bound(all, leaves, whole, {0, width}));
    if (fits_in_place(whole, leaf_total)) {
      PartialSum again = mine;
      reducer.all_reduce(mine, runs, mine);
      wrong.push_back(beyond_bound(mine, leaves, whole, {0, width}));
      reducer.reduce_scatter(again, runs, again);
      all_gather_nodes(reducer, again);
      wrong.push_back(beyond_bound(again, leaves, whole, {0, width}));
    }
    for (std::size_t n = 0; n < all.nodes().size(); ++n) {
      sums[group.rank()].insert(sums[group.rank()].end(), all.values(n).begin(),
                                all.values(n).end());
    }
  });
  std::erase(wrong, "");
  RC_ASSERT(wrong == std::vector<std::string>());
  for (const auto& of_rank : sums) RC_ASSERT(of_rank == sums.front());
}

float native_total(std::uint64_t seed, Reduction reduction) {
  constexpr std::size_t kRanks = 8;
  const std::vector<Range> runs = shares_of(Range{0, kRanks}, kRanks);
  float total = 0;
  run_simulated({.ranks = kRanks, .seed = seed}, [&](Comm& group) {
    Reducer reducer(group, reduction, kRanks);
    reducer.reserve(runs, 1);
    PartialSum mine(kRanks, runs[group.rank()], 1);
    mine.next()[0] = 1.0F / static_cast<float>(group.rank() + 3);
    mine.push();
    PartialSum sum(kRanks, Range{0, kRanks}, 1);
    reducer.all_reduce(mine, runs, sum);
    if (group.rank() == 0) total = sum.total()[0];
  });
  return total;
}

TEST(Collectives, NativeSumsDependOnTheOrderAndCanonicalOnesDoNot) {
  std::set<float> native;
  std::set<float> canonical;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    native.insert(native_total(seed, Reduction::native));
    canonical.insert(native_total(seed, Reduction::canonical));
  }
  EXPECT_GT(native.size(), 1U);
  EXPECT_EQ(canonical.size(), 1U);
}
}  // namespace
}  // namespace meshparity
