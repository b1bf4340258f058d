#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "oracle/recording.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// What a run of the proof has covered: counts for the report, and which of the awkward corners the
/// generators really reached.
class ParityTally {
 public:
  /// `transport`: "sim" or "mpi". `equal`: the verdict.
  void add(const ParityCase& c, const std::string& transport, bool equal);
  /// What the run of a case met: which of its numbers were subnormal at some time.
  void add_met(const Recording& run);
  /// A case with native reductions: its worst error / bound.
  void add_native(const ParityCase& c, double ratio);

  std::size_t cases(const std::string& transport) const;
  /// The cases of the strategy that has the fewest; 0 if one has none.
  std::size_t fewest_cases(const std::string& transport) const;
  /// The same of native cases that were judged, whose errors are never all 0.
  std::size_t fewest_native_cases() const;

  /// "strategies", "products" and "distribution" of parity.json.
  nlohmann::ordered_json to_json() const;
  /// The distribution as lines of text.
  std::string distribution_text() const;

 private:
  struct Row {
    std::size_t cases = 0;
    std::size_t equal = 0;
    std::set<std::string> meshes;
    std::size_t ranks_min = 0;
    std::size_t ranks_max = 0;
    std::size_t native_cases = 0;
    double native_worst_ratio = 0;
  };
  using Key = std::pair<std::string, std::string>;  // name, transport
  static void count(Row& row, const ParityCase& c, bool equal);
  void classify(const ParityCase& c);
  /// What was counted for a strategy; nothing if it had no case.
  Row row_of(const StrategyEntry& entry, const std::string& transport) const;

  std::map<Key, Row> strategies_;
  std::map<Key, Row> products_;
  std::map<std::string, std::size_t> distribution_;
};

/// "dp x tp"; "one rank" for none.
std::string axes_text(const Mesh& mesh);

}  // namespace meshparity
