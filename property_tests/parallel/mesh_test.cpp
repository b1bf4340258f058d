#include "parallel/mesh.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "model/error.h"
#include "parallel/transport/sim/comm_sim.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

Mesh mesh_of(std::size_t dp, std::size_t fsdp, std::size_t tp, std::size_t pp) {
  Mesh mesh;
  mesh[Axis::dp] = dp;
  mesh[Axis::fsdp] = fsdp;
  mesh[Axis::tp] = tp;
  mesh[Axis::pp] = pp;
  return mesh;
}

/// Calls `visit` with every mesh of up to `most` ranks.
template <typename Visit>
void for_every_mesh(std::size_t most, Visit visit) {
  for (std::size_t dp = 1; dp <= most; ++dp) {
    for (std::size_t fsdp = 1; dp * fsdp <= most; ++fsdp) {
      for (std::size_t tp = 1; dp * fsdp * tp <= most; ++tp) {
        for (std::size_t pp = 1; dp * fsdp * tp * pp <= most; ++pp) {
          visit(mesh_of(dp, fsdp, tp, pp));
        }
      }
    }
  }
}

TEST(Mesh, RanksCountThroughTpThenFsdpThenDpThenPp) {
  std::size_t meshes = 0;
  for_every_mesh(64, [&](const Mesh& mesh) {
    ++meshes;
    std::size_t rank = 0;
    MeshCoordinates at;
    for (at[Axis::pp] = 0; at[Axis::pp] < mesh[Axis::pp]; ++at[Axis::pp]) {
      for (at[Axis::dp] = 0; at[Axis::dp] < mesh[Axis::dp]; ++at[Axis::dp]) {
        for (at[Axis::fsdp] = 0; at[Axis::fsdp] < mesh[Axis::fsdp]; ++at[Axis::fsdp]) {
          for (at[Axis::tp] = 0; at[Axis::tp] < mesh[Axis::tp]; ++at[Axis::tp], ++rank) {
            ASSERT_EQ(rank_of(mesh, at), rank) << to_string(mesh);
            ASSERT_EQ(coordinates_of(mesh, rank), at) << to_string(mesh) << ", rank " << rank;
          }
        }
      }
    }
    ASSERT_EQ(rank, mesh.size());
  });
  EXPECT_GT(meshes, 1000U);
}

TEST(Mesh, TextsRoundTrip) {
  for_every_mesh(64, [](const Mesh& mesh) { ASSERT_EQ(parse_mesh(to_string(mesh)), mesh); });
  EXPECT_EQ(to_string(Mesh{}), "dp=1");
  EXPECT_EQ(to_string(mesh_of(2, 1, 2, 3)), "dp=2,tp=2,pp=3");
  EXPECT_EQ(to_string(mesh_of(1, 4, 1, 1)), "fsdp=4");
}

TEST(Mesh, AxesComeInAnyOrderAndAreOneWhenAbsent) {
  EXPECT_EQ(parse_mesh(""), Mesh{});
  EXPECT_EQ(parse_mesh("dp=1"), Mesh{});
  EXPECT_EQ(parse_mesh("pp=3,tp=2"), mesh_of(1, 1, 2, 3));
  EXPECT_EQ(parse_mesh("tp=5,fsdp=4,pp=3,dp=2"), mesh_of(2, 4, 5, 3));
}

TEST(Mesh, EveryBadTextIsNamed) {
  struct Bad {
    std::string text;
    std::string named;
  };
  const std::vector<Bad> bad{{"dp=0", "dp=0"},
                             {"tp=2,dp=0", "dp=0"},
                             {"dp=x", "dp=x"},
                             {"dp=-1", "dp=-1"},
                             {"dp=+1", "dp=+1"},
                             {"dp=1.5", "dp=1.5"},
                             {"dp=2x", "dp=2x"},
                             {"dp=0x2", "dp=0x2"},
                             {"dp=1e3", "dp=1e3"},
                             {"dp=", "dp="},
                             {"dp==2", "dp==2"},
                             {"=2", "=2"},
                             {"2", "2"},
                             {"dp", "dp"},
                             {"xp=2", "xp=2"},
                             {"DP=2", "DP=2"},
                             {"d=2", "d=2"},
                             {"dp=2,xp=2", "xp=2"},
                             {"dp=2,dp=2", "dp is given twice"},
                             {"dp=1,tp=2,dp=1", "dp is given twice"},
                             {"dp=2,", "comma"},
                             {",dp=2", "''"},
                             {"dp=2,,tp=2", "''"},
                             {",", "''"},
                             {" ", "' '"},
                             {"dp=2, tp=2", "' tp=2'"},
                             {"dp =2", "dp =2"},
                             {"dp= 2", "dp= 2"},
                             {"dp=2 ", "dp=2 "},
                             {"dp=2;tp=2", "dp=2;tp=2"},
                             {"dp=99999999999999999999", "dp=99999999999999999999"},
                             {"dp=18446744073709551616", "dp=18446744073709551616"},
                             {"dp=2147483648", "dp=2147483648"},
                             {"dp=65536,tp=65536", "dp=65536,tp=65536"},
                             {"dp=4294967296,tp=4294967296", "dp=4294967296,tp=4294967296"},
                             // 2^30 * 2^34 wraps to 0.
                             {"dp=1073741824,tp=17179869184", "dp=1073741824,tp=17179869184"}};
  for (const Bad& mesh : bad) {
    try {
      parse_mesh(mesh.text);
      ADD_FAILURE() << "accepted '" << mesh.text << "'";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(mesh.named), std::string::npos)
          << mesh.text << ": " << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

RC_GTEST_PROP(Mesh, GroupsHoldTheRanksThatDifferInOneCoordinate, ()) {
  Mesh mesh;
  mesh[Axis::dp] = *from_to(1, 12);
  mesh[Axis::fsdp] = *from_to(1, 12 / mesh[Axis::dp]);
  mesh[Axis::tp] = *from_to(1, 24 / (mesh[Axis::dp] * mesh[Axis::fsdp]));
  mesh[Axis::pp] = *from_to(1, 24 / (mesh[Axis::dp] * mesh[Axis::fsdp] * mesh[Axis::tp]));
  RC_CLASSIFY(mesh[Axis::dp] > 1 && mesh[Axis::fsdp] > 1 && mesh[Axis::tp] > 1,
              "three axes and more");
  using Members = std::vector<float>;  // world ranks
  struct Seen {
    MeshCoordinates at;
    std::array<std::size_t, 4> rank{};
    std::array<Members, 4> members;
    std::array<std::string, 4> names;
  };
  std::vector<Seen> seen(mesh.size());
  run_simulated({.ranks = mesh.size(), .seed = *random::any_seed()}, [&](Comm& world) {
    const MeshGroups groups = lay_out(mesh, world);
    Seen& mine = seen[world.rank()];
    mine.at = groups.at;
    const std::array<Comm*, 4> comms{groups.along[Axis::dp].get(), groups.along[Axis::fsdp].get(),
                                     groups.along[Axis::tp].get(), groups.along[Axis::pp].get()};
    for (std::size_t axis = 0; axis < comms.size(); ++axis) {
      Comm& comm = *comms[axis];
      mine.rank[axis] = comm.rank();
      mine.names[axis] = comm.name();
      mine.members[axis].resize(comm.size());
      const auto me = static_cast<float>(world.rank());
      comm.all_gather({&me, 1}, mine.members[axis], std::vector<std::size_t>(comm.size(), 1));
    }
  });

  const std::array<Axis, 4> axes{Axis::dp, Axis::fsdp, Axis::tp, Axis::pp};
  for (std::size_t rank = 0; rank < mesh.size(); ++rank) {
    RC_ASSERT(seen[rank].at == coordinates_of(mesh, rank));
    for (std::size_t axis = 0; axis < axes.size(); ++axis) {
      Members expected;
      for (std::size_t i = 0; i < mesh[axes[axis]]; ++i) {
        MeshCoordinates member = coordinates_of(mesh, rank);
        member[axes[axis]] = i;
        expected.push_back(static_cast<float>(rank_of(mesh, member)));
      }
      RC_ASSERT(seen[rank].members[axis] == expected);
      RC_ASSERT(seen[rank].rank[axis] == seen[rank].at[axes[axis]]);
    }
    RC_ASSERT(seen[rank].names == (std::array<std::string, 4>{"dp", "fsdp", "tp", "pp"}));
  }
}

TEST(Mesh, AWorldOfAnotherSizeIsRefusedWithTheLineThatFits) {
  const Mesh mesh = parse_mesh("dp=2,tp=2");
  try {
    require_world_size(mesh, 2);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "mesh dp=2,tp=2 needs 4 ranks, but the world has 2");
    EXPECT_NE(error.hint().find("mpirun -n 4"), std::string::npos) << error.hint();
    EXPECT_NE(error.hint().find("--mesh dp=2,tp=2"), std::string::npos) << error.hint();
  }
  EXPECT_THROW(require_world_size(mesh, 5), UsageError);
  EXPECT_THROW(require_world_size(Mesh{}, 2), UsageError);
  EXPECT_NO_THROW(require_world_size(mesh, 4));
  EXPECT_THROW(run_simulated({.ranks = 3}, [&](Comm& world) { lay_out(mesh, world); }), UsageError);
}

}  // namespace
}  // namespace meshparity
