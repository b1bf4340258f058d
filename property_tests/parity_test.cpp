// Every strategy gives the bits of one rank (see parity_properties.h). How many cases are tried,
// and from which seed, is RapidCheck's RC_PARAMS.

#include <gtest/gtest.h>

#include <iostream>

#include "property_tests/parity_properties.h"

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
#endif

}  // namespace
}  // namespace meshparity
