// What ranks that share out features tell each other, against one rank that has all of them.
#include "parallel/tensor_parallel.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "oracle/compare.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::floats;
using random::from_to;

/// Features shared out among some ranks, unevenly, or so that some ranks have none.
struct FeatureShares {
  std::size_t ranks = *from_to(1, 6);
  std::size_t grain = *from_to(1, 20);
  std::size_t features = *from_to(1, 60);
  std::size_t rows = *from_to(0, 7);

  FeatureShares() {
    const std::size_t leaves = leaf_count(features, grain);
    RC_CLASSIFY(leaves < ranks, "ranks without features");
    RC_CLASSIFY(leaves % ranks != 0, "uneven shares");
    RC_CLASSIFY(features % grain != 0, "a short last leaf");
  }
};

/// The columns `here` of a matrix of `width` columns.
std::vector<float> columns_of(const std::vector<float>& matrix, std::size_t width, Range here) {
  std::vector<float> part;
  for (std::size_t row = 0; row < matrix.size() / width; ++row) {
    const auto begin = matrix.begin() + static_cast<std::ptrdiff_t>(row * width);
    part.insert(part.end(), begin + static_cast<std::ptrdiff_t>(here.begin),
                begin + static_cast<std::ptrdiff_t>(here.end));
  }
  return part;
}

bool same(const std::vector<float>& actual, const std::vector<float>& expected) {
  return std::ranges::equal(actual, expected, same_float);
}

/// Calls `check(group)` on every rank of a simulated world; it returns whether all was right.
template <typename Check>
void require_on_all(std::size_t ranks, Check check) {
  std::vector<char> right(ranks);
  run_simulated({.ranks = ranks, .seed = *random::any_seed()}, [&](Comm& world) {
    TensorParallelGroup group(world, Reduction::canonical);
    right[world.rank()] = check(group);
  });
  RC_ASSERT(right == std::vector<char>(ranks, 1));
}

RC_GTEST_PROP(TensorParallel, ProductsAndRowSumsAreThoseOfARankAlone, ()) {
  const FeatureShares shares;
  const rc::Gen<float> kind = *random::kind_of_floats();
  const std::size_t columns = *from_to(1, 5);
  const std::vector<float> left = floats(shares.rows * shares.features, kind);
  const std::vector<float> right = floats(shares.features * columns, kind);
  const std::vector<float> bias = floats(columns, kind);

  AloneGroup alone;
  const auto whole = alone.sum_over(shares.features, shares.grain, shares.rows * columns);
  std::vector<float> product(shares.rows * columns);
  whole->product({left, shares.rows, shares.features}, {right, shares.features, columns}, product,
                 {bias, true});
  std::vector<float> sums(shares.rows);
  whole->row_sums(left, sums);

  require_on_all(shares.ranks, [&](TensorParallelGroup& group) {
    const Range here = group.share(shares.features, shares.grain);
    const std::vector<float> mine = columns_of(left, shares.features, here);
    const std::vector<float> rows_here(
        right.begin() + static_cast<std::ptrdiff_t>(here.begin * columns),
        right.begin() + static_cast<std::ptrdiff_t>(here.end * columns));
    const auto sum = group.sum_over(shares.features, shares.grain, shares.rows * columns);
    std::vector<float> shared_product(product.size());
    std::vector<float> shared_sums(sums.size());
    for (int round = 0; round < 2; ++round) {  // in either order, again and again
      sum->row_sums(mine, shared_sums);
      if (!same(shared_sums, sums)) return false;
      sum->product({mine, shares.rows, here.size()}, {rows_here, here.size(), columns},
                   shared_product, {bias, true});
      if (!same(shared_product, product)) return false;
    }
    return true;
  });
}

RC_GTEST_PROP(TensorParallel, RowsComeFromTheRankThatHasTheirFeature, ()) {
  const FeatureShares shares;
  const std::size_t width = *from_to(1, 4);
  const std::vector<float> expected = floats(shares.rows * width, random::special_float());
  std::vector<std::int32_t> features;
  for (std::size_t i = 0; i < shares.rows; ++i) {
    features.push_back(static_cast<std::int32_t>(*from_to(0, shares.features)) - 1);
  }
  RC_CLASSIFY(std::ranges::count(features, -1) > 0, "rows that are nobody's");

  require_on_all(shares.ranks, [&](TensorParallelGroup& group) {
    const Range here = group.share(shares.features, shares.grain);
    const auto rows_of = group.rows_of(shares.features, shares.grain, shares.rows, width);
    for (int round = 0; round < 2; ++round) {
      std::vector<float> rows(expected.size(), 7.0F);
      std::vector<float> all = expected;
      for (std::size_t i = 0; i < shares.rows; ++i) {
        for (std::size_t at = i * width; at < (i + 1) * width; ++at) {
          if (features[i] < 0) all[at] = rows[at] = -3.0F;
          const auto feature = static_cast<std::size_t>(features[i]);
          if (feature >= here.begin && feature < here.end) rows[at] = expected[at];
        }
      }
      rows_of->exchange(features, rows);
      if (!same(rows, all)) return false;
    }
    return true;
  });
}

TEST(TensorParallel, RowsAreSelected) {
  run_simulated({.ranks = 3}, [](Comm& world) {
    TensorParallelGroup group(world, Reduction::canonical);
    const auto rows_of = group.rows_of(3, 1, 1, 1);
    const std::vector<std::int32_t> features = {1};
    std::vector<float> row = {world.rank() == 1 ? -0.0F : 0.0F};
    rows_of->exchange(features, row);
    EXPECT_TRUE(std::signbit(row[0]));
  });
}

TEST(TensorParallel, RowsThatCannotBeExchangedAreRefused) {
  run_simulated({.ranks = 1}, [](Comm& world) {
    TensorParallelGroup group(world, Reduction::canonical);
    const auto rows_of = group.rows_of(4, 2, 2, 1);
    std::vector<float> rows(3);
    const std::vector<std::int32_t> too_many = {0, 1, 2};
    EXPECT_THROW(rows_of->exchange(too_many, rows), std::logic_error);
    const std::vector<std::int32_t> not_there = {4};
    EXPECT_THROW(rows_of->exchange(not_there, std::span(rows).first(1)), std::logic_error);
  });
}

RC_GTEST_PROP(TensorParallel, TheMaximumIsThatOfAllRanks, ()) {
  const std::size_t ranks = *from_to(1, 6);
  std::vector<std::vector<float>> values(ranks);
  const std::size_t count = *from_to(0, 9);
  for (auto& of_rank : values) of_rank = floats(count, random::special_float());
  std::vector<float> expected(count, -std::numeric_limits<float>::infinity());
  for (const auto& of_rank : values) {
    for (std::size_t i = 0; i < count; ++i) {
      const float value = of_rank[i];
      const bool larger = value > expected[i] || std::isnan(value) ||
                          (value == expected[i] && std::signbit(expected[i]));
      if (larger && !std::isnan(expected[i])) expected[i] = value;
    }
  }
  std::vector<char> right(ranks);
  run_simulated({.ranks = ranks, .seed = *random::any_seed()}, [&](Comm& world) {
    std::vector<float> mine = values[world.rank()];
    TensorParallelGroup(world, Reduction::canonical).maximum(mine);
    right[world.rank()] = same(mine, expected);
  });
  RC_ASSERT(right == std::vector<char>(ranks, 1));
}

}  // namespace
}  // namespace meshparity
