#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "property_tests/proof/parity_case.h"
#include "property_tests/proof/parity_tally.h"

/// The properties that the whole project is about. The test suite checks them on some cases,
/// `meshparity-verify` on many.
namespace meshparity {

inline constexpr std::array<const char*, 5> kTrainers = {"train_dp", "train_fsdp", "train_tp",
                                                         "train_pp", "train_mesh"};

/// The most ranks of a random simulated mesh, and of one under Open MPI.
inline constexpr std::size_t kSimulatedRanks = 24;
inline constexpr std::size_t kMpiRanks = 12;

/// How many random cases, from which seed.
struct Sample {
  std::size_t cases = 0;
  std::uint64_t seed = 0;
};

/// What RC_PARAMS asks for, or RapidCheck's 100 cases.
Sample rapidcheck_sample();

/// Bits equal to one rank, on random meshes in simulated worlds. A failure is shrunk to a small
/// mesh and printed. True if it holds.
bool holds_simulated(const std::string& trainer, const Sample& sample, ParityTally& tally);

/// With native reductions: each step's losses, gradients and updates within the derived bound
/// around the oracle's, from the same parameters. True if it holds.
bool holds_natively(const std::string& trainer, const Sample& sample, ParityTally& tally);

/// Bits equal to one rank under real mpirun, hangs and crashes included. The cases are dealt out to
/// the trainers, in as few jobs as possible. A failure is shrunk by starting more jobs. True if it
/// holds.
bool holds_under_mpi(const std::vector<std::string>& trainers, const Sample& sample,
                     ParityTally& tally);

/// What a failure prints: the smallest mesh, the line that reruns just this case, what differs.
std::string failure_text(const ParityCase& c, const std::string& transport,
                         const std::string& difference);

/// Trains the case with native reductions in a simulated world. Returns what lies outside the
/// bound; `worst_ratio` is the largest error / bound of losses and gradients.
std::optional<std::string> difference_from_oracle(const ParityCase& c, double& worst_ratio);

}  // namespace meshparity
