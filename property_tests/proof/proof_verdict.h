#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "golden/jobs/exit_status.h"

namespace meshparity {

/// The verdict on a proof of several parts. A part is unverified until it says otherwise, so one
/// that never ran, or judged nothing, is no success.
class ProofVerdict {
 public:
  /// The parts by what they show: "every strategy on simulated meshes".
  explicit ProofVerdict(const std::vector<std::string>& parts);

  /// A part held or not, on so many cases: of several kinds, those of the kind with the fewest. To
  /// hold on none shows nothing. Throws std::out_of_range for a part that is none.
  void report(const std::string& part, bool holds, std::size_t fewest_cases);

  /// kSuccess if every part is proven, kProofFailed if one is not as it should be, otherwise
  /// kUnverified.
  ExitStatus status() const;
  /// What is wrong or missing, a line for each part of which that can be said.
  std::string text() const;

 private:
  struct Part {
    std::string name;
    ExitStatus status = kUnverified;
  };
  std::vector<Part> parts_;
};

}  // namespace meshparity
