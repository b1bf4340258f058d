#include "property_tests/proof/parity_properties.h"

#include <rapidcheck.h>

#include <algorithm>
#include <iostream>

#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/parity_check.h"

namespace meshparity {
namespace {

/// RapidCheck's check with its own number of cases and seed.
template <typename Property>
bool holds(const std::string& description, const Sample& sample, Property property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = static_cast<int>(sample.cases);
  params.seed = sample.seed;
  const auto result = rc::detail::checkTestable(
      property, rc::detail::TestMetadata{description, description}, params);
  if (result.template is<rc::detail::SuccessResult>()) return true;
  std::cerr << "- " << description << "\n";
  rc::detail::printResultMessage(result, std::cerr);
  std::cerr << "\n";
  return false;
}

/// Shrinks a case that failed under mpirun: the first smaller case that fails too, again and again.
/// Each attempt is a job of its own, so their number is limited.
void shrink_under_mpi(rc::Shrinkable<ParityCase> failing, std::string difference) {
  constexpr int kAttempts = 20;
  int attempts = 0;
  for (bool smaller = true; smaller && attempts < kAttempts;) {
    smaller = false;
    auto candidates = failing.shrinks();
    while (auto candidate = candidates.next()) {
      if (++attempts > kAttempts) break;
      const auto found = failure_under_mpi({candidate->value()});
      if (!found) continue;
      failing = *candidate;
      difference = found->difference;
      smaller = true;
      break;
    }
  }
  std::cerr << failure_text(failing.value(), "mpi", difference) << "\n";
}

}  // namespace

std::string failure_text(const ParityCase& c, const std::string& transport,
                         const std::string& difference) {
  return "smallest mesh: " + to_string(c.how.mesh) + "\ntrainer: " + c.trainer +
         "\nfirst difference: " + difference + "\nrerun: build/bin/meshparity-verify --transport " +
         transport + " --case '" + to_line(c) + "'";
}

Sample rapidcheck_sample() {
  const rc::detail::TestParams& params = rc::detail::configuration().testParams;
  return {static_cast<std::size_t>(params.maxSuccess), params.seed};
}

bool holds_simulated(const std::string& trainer, const Sample& sample, ParityTally& tally) {
  bool failed = false;  // from then on RapidCheck shrinks
  return holds(trainer + " gives the bits of one rank on simulated meshes", sample, [&] {
    const ParityCase c = *parity_cases(trainer, Reduction::canonical, kSimulatedRanks);
    const auto difference = difference_simulated(c);
    if (!failed) tally.add(c, "sim", !difference);
    failed = failed || difference;
    if (difference) RC_FAIL(failure_text(c, "sim", *difference));
  });
}

bool holds_natively(const std::string& trainer, const Sample& sample, ParityTally& tally) {
  return holds(trainer + " with native reductions stays within the derived bound", sample, [&] {
    const ParityCase c = *parity_cases(trainer, Reduction::native, kSimulatedRanks);
    double ratio = 0;
    const auto difference = difference_from_oracle(c, ratio);
    tally.add_native(c, ratio);
    if (difference) RC_FAIL(failure_text(c, "sim", *difference));
  });
}

bool holds_under_mpi(const std::vector<std::string>& trainers, const Sample& sample,
                     ParityTally& tally) {
  std::vector<rc::Shrinkable<ParityCase>> drawn;
  rc::Random random(sample.seed);
  for (std::size_t i = 0; i < sample.cases; ++i) {
    const auto generator =
        parity_cases(trainers[i % trainers.size()], Reduction::canonical, kMpiRanks);
    drawn.push_back(generator(random.split(), rc::kNominalSize));
  }
  // A job has as many ranks as its largest case, and idle ranks cost time: small meshes go
  // together.
  std::stable_sort(drawn.begin(), drawn.end(), [](const auto& a, const auto& b) {
    return a.value().how.mesh.size() < b.value().how.mesh.size();
  });

  const std::size_t per_job = (sample.cases + 2) / 3;
  for (std::size_t first = 0; first < sample.cases; first += per_job) {
    std::vector<ParityCase> job;
    for (std::size_t i = first; i < std::min(first + per_job, sample.cases); ++i) {
      job.push_back(drawn[i].value());
    }
    const auto failure = failure_under_mpi(job);
    const std::size_t judged = failure ? failure->number + 1 : job.size();
    for (std::size_t i = 0; i < judged; ++i) {
      tally.add(job[i], "mpi", !failure || i < failure->number);
    }
    if (failure) {
      shrink_under_mpi(drawn[first + failure->number], failure->difference);
      return false;
    }
  }
  return true;
}

}  // namespace meshparity
