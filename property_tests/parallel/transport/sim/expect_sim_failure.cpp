#include "property_tests/parallel/transport/sim/expect_sim_failure.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

namespace meshparity {

std::string name_of(SimFailure::Kind kind) {
  const std::array<const char*, 4> names = {"deadlock", "mismatch", "leaked_message", "rank_died"};
  return names[static_cast<std::size_t>(kind)];
}

SimFailure expect_sim_failure(SimFailure::Kind kind, const std::vector<std::string>& parts,
                              std::size_t ranks, const std::function<void(Comm& world)>& body) {
  std::optional<SimFailure> last;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto start = std::chrono::steady_clock::now();
    try {
      run_simulated({.ranks = ranks, .seed = seed}, body);
      ADD_FAILURE() << "no failure with seed " << seed;
    } catch (const SimFailure& failure) {
      last = failure;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
    if (!last) break;
    EXPECT_EQ(name_of(last->kind()), name_of(kind)) << last->what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(last->what()).find(part), std::string::npos)
          << "no \"" << part << "\" in\n"
          << last->what();
    }
  }
  return last.value_or(SimFailure(kind, "there was no failure", {}));
}

}  // namespace meshparity
