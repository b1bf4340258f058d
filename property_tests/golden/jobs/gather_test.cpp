#include "golden/jobs/gather.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/mesh.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// A parameter and how a mesh cuts it.
struct Cut {
  ParameterSpec spec;
  std::size_t stage = 0;          // the pipeline stage that has it
  std::vector<Range> row_blocks;  // one for each tensor-parallel rank, unless there are copies
  std::vector<Range> column_blocks;
  std::vector<std::vector<Range>> flat;  // [tp][fsdp]

  Shard shard(const MeshCoordinates& at) const {
    const std::size_t tp = row_blocks.size() == 1 ? 0 : at[Axis::tp];
    Shard part(spec, row_blocks[tp], column_blocks[tp]);
    part.flat = flat[tp][at[Axis::fsdp]];
    return part;
  }
};

Cut random_cut(const Mesh& mesh, const std::string& name) {
  Cut cut;
  cut.spec = {name, *from_to(1, 8), *from_to(1, 8), false};
  cut.stage = *from_to(0, mesh[Axis::pp] - 1);
  const Range rows{0, cut.spec.rows};
  const Range columns{0, cut.spec.columns};
  switch (*from_to(0, 2)) {
    case 0:  // a copy on each tensor-parallel rank
      cut.row_blocks = {rows};
      cut.column_blocks = {columns};
      break;
    case 1:
      cut.row_blocks = random::random_split(rows, mesh[Axis::tp]);
      cut.column_blocks.assign(mesh[Axis::tp], columns);
      break;
    default:
      cut.row_blocks.assign(mesh[Axis::tp], rows);
      cut.column_blocks = random::random_split(columns, mesh[Axis::tp]);
  }
  for (std::size_t tp = 0; tp < cut.row_blocks.size(); ++tp) {
    const Range block{0, cut.row_blocks[tp].size() * cut.column_blocks[tp].size()};
    cut.flat.push_back(random::random_split(block, mesh[Axis::fsdp]));
  }
  return cut;
}

/// A different number for every element of every tensor.
float element(std::size_t parameter, std::size_t index, Gathered what) {
  const std::size_t code = 1000 * parameter + index;
  return static_cast<float>(code) + 0.25F * static_cast<float>(what);
}

constexpr std::array kAll{Gathered::values, Gathered::gradients, Gathered::first_moments,
                          Gathered::second_moments};
/// For each of them, something.
template <typename Thing>
using OfEach = std::array<Thing, kAll.size()>;

RC_GTEST_PROP(Gather, ShardsComeBackWhole, ()) {
  Mesh mesh;
  mesh[Axis::dp] = *from_to(1, 3);
  mesh[Axis::fsdp] = *from_to(1, 4);
  mesh[Axis::tp] = *from_to(1, 3);
  mesh[Axis::pp] = *from_to(1, 2);
  RC_CLASSIFY(mesh.size() == 1, "one rank");
  RC_CLASSIFY(mesh.size() > 10, "more than 10 ranks");
  std::vector<Cut> cuts;
  std::vector<ParameterSpec> specs;
  for (std::size_t p = *from_to(1, 4); p > 0; --p) {
    cuts.push_back(random_cut(mesh, "p" + std::to_string(p)));
    specs.push_back(cuts.back().spec);
  }

  std::vector<OfEach<std::vector<std::vector<float>>>> gathered(mesh.size());
  run_simulated({.ranks = mesh.size(), .seed = *random::any_seed()}, [&](Comm& world) {
    const MeshCoordinates at = coordinates_of(mesh, world.rank());
    std::vector<Shard> shards;
    std::vector<OfEach<std::vector<float>>> mine;
    std::vector<bool> counted;
    for (std::size_t p = 0; p < cuts.size(); ++p) {
      if (cuts[p].stage != at[Axis::pp]) continue;
      const Shard& shard = shards.emplace_back(cuts[p].shard(at));
      counted.push_back(at[Axis::dp] == 0 && (cuts[p].row_blocks.size() > 1 || at[Axis::tp] == 0));
      auto& parts = mine.emplace_back();
      // Nobody may look at what a copy holds.
      const float wrong = counted.back() ? 0.0F : 1e6F;
      for (std::size_t w = 0; w < kAll.size(); ++w) {
        for (std::size_t i = 0; i < shard.size(); ++i) {
          parts[w].push_back(wrong + element(p, shard.global_index(i), kAll[w]));
        }
      }
    }
    std::vector<ShardView> views;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const auto& [value, gradient, first, second] = mine[i];
      views.push_back({&shards[i], counted[i], value, gradient, first, second});
    }
    for (std::size_t w = 0; w < kAll.size(); ++w) {
      gathered[world.rank()][w] = gather_parameters(specs, views, kAll[w], world);
    }
  });

  for (std::size_t w = 0; w < kAll.size(); ++w) {
    for (std::size_t rank = 1; rank < mesh.size(); ++rank) RC_ASSERT(gathered[rank][w].empty());
    const std::vector<std::vector<float>>& whole = gathered[0][w];
    RC_ASSERT(whole.size() == specs.size());
    for (std::size_t p = 0; p < specs.size(); ++p) {
      RC_ASSERT(whole[p].size() == specs[p].size());
      for (std::size_t i = 0; i < specs[p].size(); ++i) {
        RC_ASSERT(whole[p][i] == element(p, i, kAll[w]));
      }
    }
  }
}

TEST(Gather, TwoRanksByHand) {
  run_simulated({.ranks = 2}, [](Comm& world) {
    Shard shard(ParameterSpec{"w", 1, 4, true});
    shard.flat = share_of(shard.flat, 2, world.rank());
    const std::vector<float> mine{static_cast<float>(world.rank()), 7};
    const std::vector<ShardView> views{{&shard, true, mine, {}}};
    const auto whole = gather_parameters({&shard.spec, 1}, views, Gathered::values, world);
    if (world.rank() == 0) {
      EXPECT_EQ(whole.front(), (std::vector<float>{0, 7, 1, 7}));
    }
  });
}

/// Values that a view does not have are no zeros.
TEST(Gather, WhatIsNotThereIsNotGathered) {
  run_simulated({.ranks = 1}, [](Comm& world) {
    const Shard shard(ParameterSpec{"w", 1, 4, true});
    const std::vector<float> mine(4, 1);
    const std::vector<ShardView> views{{&shard, true, mine, {}}};
    for (const Gathered what :
         {Gathered::gradients, Gathered::first_moments, Gathered::second_moments}) {
      EXPECT_THROW(gather_parameters({&shard.spec, 1}, views, what, world), std::logic_error);
    }
  });
}

}  // namespace
}  // namespace meshparity
