#pragma once

#include <string>
#include <vector>

#include "golden/check/golden_cases.h"

namespace meshparity {

struct GoldenCheckOptions {
  std::string golden_dir;
  std::string recipe;  ///< empty: all
  std::string json_path;
  bool with_sim = true;
  bool with_mpi = true;
};

/// A case and how it went.
struct GoldenResult {
  GoldenCase run;
  /// The first difference from the golden, or why the case failed.
  std::string difference;
  /// Why nothing is known of it: the machine failed, not the case.
  std::string not_run;

  bool same_bits() const { return difference.empty() && not_run.empty(); }
};

/// Trains one case and compares it with its golden.
GoldenResult check_case(const GoldenRecipe& golden, const Trace& expected, const GoldenCase& run);

/// Runs every case of every recipe, prints a table, writes the JSON that reports are made of.
/// Returns the exit status: 0 if every trace has its golden's bits, 1 if one has not, 4 if the
/// machine kept some case from being run.
int check_goldens(const GoldenCheckOptions& options);

}  // namespace meshparity
