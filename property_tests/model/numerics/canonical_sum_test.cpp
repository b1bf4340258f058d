#include "model/numerics/canonical_sum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdint>
#include <ostream>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {

inline std::ostream& operator<<(std::ostream& out, const Range& run) {
  return out << "[" << run.begin << ", " << run.end << ")";
}

namespace {

std::size_t address_of(const float* memory) { return reinterpret_cast<std::uintptr_t>(memory); }

TEST(AlignedFloats, BeginWithACacheLineAndLargeOnesWithALargePage) {
  for (const std::size_t size : {1U, 15U, 4099U, 1U << 17}) {
    EXPECT_EQ(address_of(AlignedFloats(size).data()) % kCacheLine, 0U);
  }
  EXPECT_EQ(address_of(AlignedFloats(1U << 18).data()) % (1U << 21), 0U);
  PartialSum sum(3, meshparity::Range{0, 3}, 5);  // two nodes at once
  sum.next_zeroed();
  sum.push(2);
  EXPECT_EQ(address_of(sum.values(0).data()) % kCacheLine, 0U);
  EXPECT_EQ(address_of(sum.next().data()) % kCacheLine, 0U);
}

using random::from_to;
using Leaves = std::vector<std::vector<float>>;  // [leaf][element]

Leaves random_leaves(std::size_t count, std::size_t width) {
  const rc::Gen<float> kind = *random::kind_of_floats();
  Leaves leaves;
  for (std::size_t i = 0; i < count; ++i) leaves.push_back(random::floats(width, kind));
  return leaves;
}

/// The sum over the leaves [run.begin, run.end), which must be a whole subtree or the whole tree.
std::vector<float> literal_sum(const Leaves& leaves, Range run) {
  std::vector<float> sums(leaves.front().size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    std::vector<float> terms;
    for (std::size_t leaf = run.begin; leaf < run.end; ++leaf) terms.push_back(leaves[leaf][i]);
    sums[i] = reference::canonical_tree(terms);
  }
  return sums;
}

void require_same_sums(std::span<const float> actual, std::span<const float> expected) {
  RC_ASSERT(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!same_float(actual[i], expected[i])) RC_ASSERT(actual[i] == expected[i]);
  }
}

void push_leaf(PartialSum& sum, std::span<const float> values) {
  std::copy(values.begin(), values.end(), sum.next().begin());
  sum.push();
}

void push_nodes(PartialSum& sum, const PartialSum& part) {
  for (std::size_t n = 0; n < part.nodes().size(); ++n) sum.push(part.nodes()[n], part.values(n));
}

/// The sum of a run, whose leaves are shared out `levels` times over.
PartialSum spread_sum(const Leaves& leaves, Range run, std::size_t levels) {
  PartialSum sum(leaves.size(), run, leaves.front().size());
  if (levels == 0) {
    for (std::size_t leaf = run.begin; leaf < run.end; ++leaf) push_leaf(sum, leaves[leaf]);
    return sum;
  }
  const std::size_t parts = *from_to(1, 5);
  for (const Range part : random::random_split(run, parts)) {
    push_nodes(sum, spread_sum(leaves, part, levels - 1));
  }
  return sum;
}

/// The subtrees of T(first, count), straight from the definition.
void list_subtrees(std::size_t first, std::size_t count,
                   std::set<std::pair<std::size_t, std::size_t>>& subtrees) {
  subtrees.insert({first, first + count});
  if (count == 1) return;
  std::size_t half = 1;
  while (2 * half < count) half *= 2;
  list_subtrees(first, half, subtrees);
  list_subtrees(first + half, count - half, subtrees);
}

RC_GTEST_PROP(CanonicalSum, AnySplitGivesTheBitsOfTheDefinition, ()) {
  const std::size_t count = *from_to(1, 70);
  const std::size_t width = *from_to(1, 4);
  const Leaves leaves = random_leaves(count, width);
  const std::size_t levels = *from_to(0, 3);
  RC_CLASSIFY(levels == 0, "one stream");
  RC_CLASSIFY(levels > 1, "splits of splits");
  PartialSum sum = spread_sum(leaves, {0, count}, levels);
  require_same_sums(sum.total(), literal_sum(leaves, {0, count}));
}

RC_GTEST_PROP(CanonicalSum, AnyPartHoldsTheNodesOfTheDefinition, ()) {
  const std::size_t count = *from_to(1, 70);
  const Leaves leaves = random_leaves(count, 2);
  const Range run = random::random_run(count);
  const PartialSum sum = spread_sum(leaves, run, *from_to(0, 2));
  RC_ASSERT(std::vector<Range>(sum.nodes().begin(), sum.nodes().end()) ==
            reference::canonical_nodes(run, count));
  for (std::size_t n = 0; n < sum.nodes().size(); ++n) {
    require_same_sums(sum.values(n), literal_sum(leaves, sum.nodes()[n]));
  }
  RC_ASSERT(sum.pushed() == run);
}

RC_GTEST_PROP(CanonicalSum, OneObjectServesManyRunsAndWidths, ()) {
  const std::size_t count = *from_to(1, 40);
  const std::size_t capacity = *from_to(0, 5);
  const Leaves leaves = random_leaves(count, capacity);
  std::vector<Range> runs;
  for (std::size_t i = *from_to(1, 4); i > 0; --i) runs.push_back(random::random_run(count));
  PartialSum sum(count, runs, capacity);
  RC_ASSERT(sum.leaves() == count);
  for (std::size_t round = 0; round < 5; ++round) {
    const Range run = runs[*from_to(0, runs.size() - 1)];
    const std::size_t width = *from_to(0, capacity);
    sum.start(run, width);
    RC_ASSERT(sum.width() == width);
    // An earlier and wider use must not shine through.
    std::size_t at = run.begin;
    if (*rc::gen::arbitrary<bool>() && !run.empty()) {
      const Range first = first_node_of(run, count);
      const std::vector<float> values = literal_sum(leaves, first);
      sum.push(first, std::span(values).first(width));
      at = first.end;
    }
    for (; at < run.end; ++at) push_leaf(sum, std::span(leaves[at]).first(width));
    for (std::size_t n = 0; n < sum.nodes().size(); ++n) {
      const std::vector<float> values = literal_sum(leaves, sum.nodes()[n]);
      require_same_sums(sum.values(n), std::span(values).first(width));
    }
  }
}

TEST(CanonicalSum, ZeroedBuffersAreZero) {
  PartialSum sum(2, Range{0, 2}, 3);
  for (float& value : sum.next()) value = 7.0F;
  for (const float value : sum.next_zeroed()) EXPECT_TRUE(same_float(value, 0.0F));
}

TEST(CanonicalSum, MergingIsOneAddition) {
  PartialSum sum(3, Range{0, 3}, 1);
  for (int leaf = 0; leaf < 3; ++leaf) {
    sum.next()[0] = -0.0F;
    sum.push();
  }
  EXPECT_TRUE(same_float(sum.total()[0], -0.0F));
}

TEST(CanonicalSum, NodesAreTheSubtreesOfTheDefinition) {
  for (std::size_t leaves = 1; leaves <= 200; ++leaves) {
    std::set<std::pair<std::size_t, std::size_t>> subtrees;
    list_subtrees(0, leaves, subtrees);
    for (std::size_t begin = 0; begin < leaves; ++begin) {
      for (std::size_t end = begin + 1; end <= leaves; ++end) {
        ASSERT_EQ(is_node({begin, end}, leaves), subtrees.contains({begin, end}))
            << "[" << begin << ", " << end << ") of " << leaves;
      }
    }
  }
}

TEST(CanonicalSum, NodesOfARunAreTheFewestSubtreesAndWhatAStreamLeaves) {
  for (std::size_t leaves = 1; leaves <= 36; ++leaves) {
    std::set<std::pair<std::size_t, std::size_t>> subtrees;
    list_subtrees(0, leaves, subtrees);
    for (std::size_t end = 0; end <= leaves; ++end) {
      // fewest[b] subtrees tile [b, end).
      std::vector<std::size_t> fewest(end + 1, leaves + 1);
      fewest[end] = 0;
      for (std::size_t begin = end; begin-- > 0;) {
        for (std::size_t cut = begin + 1; cut <= end; ++cut) {
          if (!subtrees.contains({begin, cut})) continue;
          fewest[begin] = std::min(fewest[begin], fewest[cut] + 1);
        }
      }
      for (std::size_t begin = 0; begin <= end; ++begin) {
        const Range run{begin, end};
        const std::vector<Range> nodes = nodes_of(run, leaves);
        ASSERT_EQ(nodes.size(), fewest[begin]) << begin << ", " << end << " of " << leaves;
        ASSERT_EQ(nodes, reference::canonical_nodes(run, leaves));
        if (begin < end) {
          ASSERT_EQ(first_node_of(run, leaves), nodes.front());
        }

        PartialSum stream(leaves, run, 0);
        for (std::size_t leaf = begin; leaf < end; ++leaf) stream.push();
        ASSERT_EQ(std::vector<Range>(stream.nodes().begin(), stream.nodes().end()), nodes);
      }
    }
  }
}

TEST(CanonicalSum, NodesOfHugeTrees) {
  const std::size_t huge = (std::size_t{1} << 40) + 3;
  EXPECT_EQ(nodes_of({0, huge}, huge), (std::vector<Range>{{0, huge}}));
  EXPECT_EQ(nodes_of({1, huge}, huge).size(), 41U);
  EXPECT_TRUE(is_node({huge - 3, huge}, huge));
  EXPECT_FALSE(is_node({huge - 2, huge}, huge));
}

RC_GTEST_PROP(CanonicalSum, SharesCoverInOrderAndDifferByAtMostOne, ()) {
  const Range total = random::random_run(*from_to(0, 1000));
  const std::size_t parts = *from_to(1, 40);
  RC_CLASSIFY(parts > total.size(), "empty shares");
  const std::vector<Range> shares = shares_of(total, parts);
  RC_ASSERT(shares.size() == parts);
  std::size_t at = total.begin;
  for (std::size_t i = 0; i < parts; ++i) {
    RC_ASSERT(shares[i].begin == at);
    RC_ASSERT(shares[i].size() == total.size() / parts + (i < total.size() % parts ? 1 : 0));
    RC_ASSERT(shares[i] == share_of(total, parts, i));
    const Range from_zero = share_of(total.size(), parts, i);
    RC_ASSERT(from_zero.begin + total.begin == at);
    RC_ASSERT(from_zero.size() == shares[i].size());
    at = shares[i].end;
  }
  RC_ASSERT(at == total.end);
}

RC_GTEST_PROP(CanonicalSum, LeavesCoverTheTerms, ()) {
  const std::size_t terms = *from_to(0, 200);
  const std::size_t grain = *from_to(1, 220);
  std::size_t leaves = 0;
  std::size_t at = 0;
  while (at < terms) {
    const Range covered = terms_of({leaves, leaves + 1}, grain, terms);
    RC_ASSERT(covered.begin == at);
    RC_ASSERT(covered.size() == std::min(grain, terms - at));
    at = covered.end;
    ++leaves;
  }
  RC_ASSERT(leaf_count(terms, grain) == leaves);
  RC_ASSERT(terms_of({0, leaves}, grain, terms) == (Range{0, terms}));
  RC_ASSERT(terms_of({leaves, leaves}, grain, terms).empty());
}

TEST(CanonicalSum, RefusesNodesOutOfOrder) {
  const std::vector<float> values{1, 2};
  PartialSum sum(8, Range{2, 6}, 2);
  EXPECT_THROW(sum.push({0, 2}, values), std::logic_error);
  EXPECT_THROW(sum.push({4, 6}, values), std::logic_error);
  sum.push({2, 4}, values);
  EXPECT_THROW(sum.push({2, 4}, values), std::logic_error);
  EXPECT_EQ(sum.pushed(), (Range{2, 4}));
  sum.push({4, 6}, values);
}

TEST(CanonicalSum, RefusesLeavesBehindTheEnd) {
  const std::vector<float> values{1};
  PartialSum sum(8, Range{2, 5}, 1);
  EXPECT_THROW(sum.push(4), std::logic_error);
  sum.push({2, 4}, values);
  EXPECT_THROW(sum.push({4, 6}, values), std::logic_error);
  sum.push();
  EXPECT_THROW(sum.push(), std::logic_error);
  PartialSum none(8, Range{3, 3}, 1);
  EXPECT_THROW(none.push(), std::logic_error);
}

TEST(CanonicalSum, RefusesTheTotalOfAnIncompleteSum) {
  PartialSum sum(3, Range{0, 3}, 1);
  EXPECT_THROW(sum.total(), std::logic_error);
  for (int leaf = 0; leaf < 3; ++leaf) {
    EXPECT_THROW(sum.total(), std::logic_error);
    sum.next_zeroed()[0] = 1.0F;
    sum.push();
  }
  EXPECT_EQ(sum.total()[0], 3.0F);
  sum.start({0, 3});
  EXPECT_THROW(sum.total(), std::logic_error);

  PartialSum part(4, Range{0, 2}, 1);  // a whole node, but not the whole tree
  part.push(2);
  EXPECT_THROW(part.total(), std::logic_error);
}

TEST(CanonicalSum, RefusesMoreThanItsBuffersHold) {
  PartialSum sum(8, Range{0, 1}, 2);
  EXPECT_THROW(sum.start({0, 1}, 3), std::logic_error);
  sum.start({1, 8}, 2);  // needs two nodes at once: [1, 2) and leaf 2
  sum.next_zeroed();
  sum.push();
  EXPECT_THROW(sum.next(), std::logic_error);
}

/// Pushes what `how` says of each run, with made-up values.
void push_runs(PartialSum& sum, const std::vector<Range>& runs, Pushed how) {
  for (Range run : runs) {
    while (!run.empty()) {
      const std::size_t size = how == Pushed::by_leaf ? 1 : first_node_of(run, sum.leaves()).size();
      sum.next_zeroed();
      sum.push(size);
      run.begin += size;
    }
  }
}

RC_GTEST_PROP(CanonicalSum, HoldsTheNodesThatItsRoomIsForAndNotOneMore, ()) {
  const std::size_t leaves = *from_to(1, 70);
  const Range covered = random::random_run(leaves);
  const std::vector<Range> runs = random::random_split(covered, *from_to(1, 6));
  const Pushed how = *rc::gen::element(Pushed::by_leaf, Pushed::by_node);
  const std::size_t nodes = most_nodes(runs, leaves, how);
  RC_CLASSIFY(nodes > 3, "more than three nodes");
  const std::size_t width = kCacheLine / sizeof(float);
  PartialSum sum(leaves, SumRoom(nodes, width));
  sum.start(covered);
  push_runs(sum, runs, how);
  RC_ASSERT(std::ranges::equal(sum.nodes(), nodes_of(covered, leaves)));
  if (nodes < 2) return;
  PartialSum smaller(leaves, SumRoom(nodes - 1, width));
  smaller.start(covered);
  RC_ASSERT_THROWS_AS(push_runs(smaller, runs, how), std::logic_error);
}

TEST(CanonicalSum, ABatchThatIsPushedWholeTakesOneBuffer) {
  const std::vector<Range> whole = {{0, 37}};
  EXPECT_EQ(most_nodes(whole, 37, Pushed::by_node), 1U);
  EXPECT_EQ(most_nodes(whole, 37, Pushed::by_leaf), 6U);
  const std::vector<Range> halves = {{0, 32}, {32, 64}};
  EXPECT_EQ(most_nodes(halves, 64, Pushed::by_node), 2U);
  const std::vector<Range> nothing = {{3, 3}};
  EXPECT_EQ(most_nodes(nothing, 8, Pushed::by_node), 0U);
}

TEST(CanonicalSum, ANarrowSumHoldsMoreNodesInTheSameRoom) {
  const SumRoom room = SumRoom(1, 1000) | SumRoom(3, 10);
  EXPECT_EQ(room.width, 1000U);
  PartialSum sum(8, room);
  sum.start({0, 8}, 1000);
  sum.next();
  sum.push();
  EXPECT_THROW(sum.next(), std::logic_error);
  EXPECT_THROW(sum.push(), std::logic_error);  // whoever did not ask for the buffer
  sum.start({0, 8}, 10);
  push_runs(sum, {{0, 8}}, Pushed::by_leaf);
  EXPECT_EQ(sum.nodes().size(), 1U);
  EXPECT_THROW(sum.start({0, 8}, 1001), std::logic_error);
}

}  // namespace
}  // namespace meshparity
