#include "property_tests/proof/proof_verdict.h"

#include <algorithm>
#include <stdexcept>

namespace meshparity {

ProofVerdict::ProofVerdict(const std::vector<std::string>& parts) {
  for (const std::string& part : parts) parts_.push_back({part});
}

void ProofVerdict::report(const std::string& part, bool holds, std::size_t fewest_cases) {
  const auto found = std::ranges::find(parts_, part, &Part::name);
  if (found == parts_.end()) throw std::out_of_range("the proof has no part '" + part + "'");
  found->status = !holds ? kProofFailed : fewest_cases == 0 ? kUnverified : kSuccess;
}

ExitStatus ProofVerdict::status() const {
  for (const ExitStatus worst : {kProofFailed, kUnverified}) {
    if (std::ranges::find(parts_, worst, &Part::status) != parts_.end()) return worst;
  }
  return parts_.empty() ? kUnverified : kSuccess;
}

std::string ProofVerdict::text() const {
  std::string text;
  for (const Part& part : parts_) {
    if (part.status == kProofFailed) text += "DIFFERENT: " + part.name + "\n";
    if (part.status == kUnverified) text += "UNVERIFIED: " + part.name + ": not judged\n";
  }
  return text;
}

}  // namespace meshparity
