#pragma once

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

/// The most ranks of a random simulated mesh, and of one under Open MPI.
inline constexpr std::size_t kSimulatedRanks = 24;
inline constexpr std::size_t kMpiRanks = 12;

/// How many random recipes, from which seed.
struct Sample {
  std::size_t recipes = 0;
  std::uint64_t seed = 0;
};

/// What RC_PARAMS asks for, or RapidCheck's 100.
Sample rapidcheck_sample();

/// Bits equal to one rank: each random recipe is trained on one rank once, then by every strategy
/// on a random mesh in a simulated world. A failure is shrunk to a small mesh and printed. True if
/// it holds. Of either model, or of one.
bool holds_simulated(const Sample& sample, ParityTally& tally,
                     std::optional<ModelKind> model = std::nullopt);

/// With native reductions: each step's losses, gradients and updates within the derived bound
/// around the oracle's, from the same parameters. True if it holds.
bool holds_natively(const Sample& sample, ParityTally& tally);

/// Bits equal to one rank under real mpirun, hangs and crashes included: `cases` cases, dealt out
/// to the strategies listed, in as few jobs as possible. A failure is shrunk by starting more jobs.
/// True if it holds.
bool holds_under_mpi(const std::vector<Strategy>& dealt, std::size_t cases, std::uint64_t seed,
                     ParityTally& tally);

/// What a failure prints: the smallest mesh, the line that reruns just this case, what differs.
std::string failure_text(const ParityCase& c, const std::string& transport,
                         const std::string& difference);

}  // namespace meshparity
