#pragma once

#include <atomic>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "golden/check/golden_recipe.h"
#include "property_tests/proof/oracle_observer.h"

namespace meshparity {

/// True if every run stayed within its bounds.
bool all_within_bounds(std::span<const OracleVerdict> verdicts);

/// The steps, or their updates, of the run that was judged least; 0 if there is none.
std::size_t fewest_steps(std::span<const OracleVerdict> verdicts);

/// One rank on every golden recipe, held to the oracle: recipe by recipe, by whoever has time.
class OracleProof {
 public:
  explicit OracleProof(const std::string& golden_dir);

  /// Judges until nothing is left to begin. Prints nothing; several threads may do this.
  void work();

  /// What became of each recipe, once all have been judged.
  std::span<const OracleVerdict> verdicts() const { return verdicts_; }
  std::string text() const;
  /// oracle.json.
  nlohmann::ordered_json to_json() const;

 private:
  std::vector<GoldenRecipe> goldens_;
  std::vector<OracleVerdict> verdicts_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace meshparity
