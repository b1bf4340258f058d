// Every strategy gives the bits of one rank (see parity_properties.h). How many cases are tried,
// and from which seed, is RapidCheck's RC_PARAMS.

#include <gtest/gtest.h>

#include <iostream>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/parity_properties.h"

namespace meshparity {
namespace {

void expect_bits_on_simulated_meshes(const std::string& trainer) {
  ParityTally tally;
  EXPECT_TRUE(holds_simulated(trainer, rapidcheck_sample(), tally));
  std::cout << tally.distribution_text();
}

TEST(Parity, TrainDpOnSimulatedMeshes) { expect_bits_on_simulated_meshes("train_dp"); }
TEST(Parity, TrainFsdpOnSimulatedMeshes) { expect_bits_on_simulated_meshes("train_fsdp"); }
TEST(Parity, TrainTpOnSimulatedMeshes) { expect_bits_on_simulated_meshes("train_tp"); }
TEST(Parity, TrainPpOnSimulatedMeshes) { expect_bits_on_simulated_meshes("train_pp"); }
TEST(Parity, TrainMeshOnSimulatedMeshes) { expect_bits_on_simulated_meshes("train_mesh"); }

void expect_native_within_bound(const std::string& trainer) {
  ParityTally tally;
  EXPECT_TRUE(holds_natively(trainer, rapidcheck_sample(), tally));
}

TEST(Native, TrainDpWithinTheBound) { expect_native_within_bound("train_dp"); }
TEST(Native, TrainFsdpWithinTheBound) { expect_native_within_bound("train_fsdp"); }
TEST(Native, TrainTpWithinTheBound) { expect_native_within_bound("train_tp"); }
TEST(Native, TrainPpWithinTheBound) { expect_native_within_bound("train_pp"); }
TEST(Native, TrainMeshWithinTheBound) { expect_native_within_bound("train_mesh"); }

#ifdef MESHPARITY_WITH_MPI
void expect_bits_under_open_mpi(const std::string& trainer) {
  constexpr std::size_t kCases = 9;
  ParityTally tally;
  EXPECT_TRUE(holds_under_mpi({trainer}, {kCases, rapidcheck_sample().seed}, tally));
  EXPECT_EQ(tally.cases("mpi"), kCases);
}

TEST(ParityMpi, TrainDpUnderOpenMpi) { expect_bits_under_open_mpi("train_dp"); }
TEST(ParityMpi, TrainFsdpUnderOpenMpi) { expect_bits_under_open_mpi("train_fsdp"); }
TEST(ParityMpi, TrainTpUnderOpenMpi) { expect_bits_under_open_mpi("train_tp"); }
TEST(ParityMpi, TrainPpUnderOpenMpi) { expect_bits_under_open_mpi("train_pp"); }
TEST(ParityMpi, TrainMeshUnderOpenMpi) { expect_bits_under_open_mpi("train_mesh"); }

TEST(ParityMpi, LargeBlocksThatRanksShowEachOther) {
  // Random recipes are small: here the first matrix is a block that neighbours map, and lent whole.
  ParityCase c;
  c.recipe.context = 16;
  c.recipe.embedding = 32;
  c.recipe.hidden = 640;
  c.recipe.batch = 12;
  c.recipe.batch_grain = 2;
  c.recipe.steps = 4;
  c.corpus = "ada\nbarbara\ngrace\nhedy\nkatherine\nmary\nradia\nsophie\n";
  ASSERT_GE(c.recipe.context * c.recipe.embedding * c.recipe.hidden * sizeof(float), kLargeBlock);
  std::vector<ParityCase> cases;
  for (const char* mesh :
       {"dp=2", "dp=3", "fsdp=2", "fsdp=4", "tp=2", "dp=2,fsdp=2", "dp=2,tp=2"}) {
    c.how.mesh = parse_mesh(mesh);
    c.trainer = trainer_for(c.how.mesh).name;
    cases.push_back(c);
  }
  const auto failure = failure_under_mpi(cases);
  EXPECT_FALSE(failure) << failure_text(cases[failure->number], "mpi", failure->difference);
}
#endif

}  // namespace
}  // namespace meshparity
