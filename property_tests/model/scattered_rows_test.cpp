// Gradients of looked-up rows against the sum written out: leaf by leaf, every leaf with every row.
#include "model/scattered_rows.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "model/numerics/kernels.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

RC_GTEST_PROP(ScatteredRows, AreTheSumOverAllLeaves, ()) {
  MicroBatch batch;
  batch.leaves.positions = *from_to(1, 5);
  batch.leaves.parts = *rc::gen::element<std::size_t>(1, 2, 8);  // 8: some are empty
  batch.leaves.samples = batch.leaves.parts > 1 ? 1 : *from_to(1, 3);
  const std::size_t samples = *from_to(1, 13);
  const std::size_t lookups = *from_to(1, 3);
  const std::size_t width = *from_to(1, 4);
  const std::size_t table_rows = *from_to(1, 5);
  batch.slots = {0, samples};
  const std::size_t places = batch.rows() * lookups;
  const std::vector<float> gradients = random::floats(places * width, *random::kind_of_floats());
  std::vector<std::int32_t> indices;
  for (std::size_t i = 0; i < places; ++i) {
    indices.push_back(static_cast<std::int32_t>(*from_to(0, table_rows - 1)));
  }

  const Range all{0, batch.leaf_total()};
  PartialSum expected(all.end, all, table_rows * width);
  for (std::size_t leaf = 0; leaf < all.end; ++leaf) {
    const Range rows = batch.leaves.rows_of(leaf, samples);
    const Range here{rows.begin * lookups, rows.end * lookups};
    scatter_add_rows(std::span(gradients).subspan(here.begin * width, here.size() * width), width,
                     std::span(indices).subspan(here.begin, here.size()), expected.next_zeroed());
    expected.push();
  }

  // Some of the table's rows, or all.
  const std::size_t first = *from_to(0, table_rows);
  const Range held{first, *from_to(first, table_rows)};
  ScatteredRows scattered(batch.rows(), lookups, width, held);
  PartialSum sum(all.end, SumRoom(1, held.size() * width));  // all in one piece
  for (int round = 0; round < 2; ++round) {
    sum.start(all);
    scattered.push(batch, indices, gradients, sum);
    RC_ASSERT(std::ranges::equal(sum.total(),
                                 expected.total().subspan(held.begin * width, held.size() * width),
                                 same_float));
  }
}

TEST(ScatteredRows, RefusesMoreRowsThanMemoryWasTakenFor) {
  MicroBatch batch;
  batch.slots = {0, 3};
  ScatteredRows scattered(2, 1, 1, {0, 1});
  PartialSum sum(3, SumRoom(1, 1));
  sum.start({0, 3});
  const std::vector<std::int32_t> indices(3);
  const std::vector<float> gradients(3);
  EXPECT_THROW(scattered.push(batch, indices, gradients, sum), std::logic_error);
}

}  // namespace
}  // namespace meshparity
