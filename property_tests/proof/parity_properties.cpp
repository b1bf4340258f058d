#include "property_tests/proof/parity_properties.h"

#include <rapidcheck.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <optional>
#include <utility>

#include "property_tests/proof/holds.h"
#include "property_tests/proof/mpi_job.h"
#include "property_tests/proof/native_check.h"
#include "property_tests/proof/parity_check.h"
#include "property_tests/proof/parity_generator.h"

namespace meshparity {
namespace {

/// A drawn case, and what it shrinks to.
using Drawn = rc::Shrinkable<std::vector<ParityCase>>;

/// The case of one strategy among those of a recipe.
const ParityCase& of_strategy(const std::vector<ParityCase>& cases, Strategy strategy) {
  return cases[static_cast<std::size_t>(strategy)];
}

/// Shrinks a case that failed under mpirun: the first smaller case that fails too, again and again.
/// Each attempt is a job of its own, so their number is limited.
void shrink_under_mpi(Drawn failing, Strategy strategy, std::string difference) {
  constexpr int kAttempts = 20;
  int attempts = 0;
  for (bool smaller = true; smaller && attempts < kAttempts;) {
    smaller = false;
    auto candidates = failing.shrinks();
    while (auto candidate = candidates.next()) {
      if (++attempts > kAttempts) break;
      const auto found = failure_under_mpi({of_strategy(candidate->value(), strategy)});
      if (!found) continue;
      failing = *candidate;
      difference = found->difference;
      smaller = true;
      break;
    }
  }
  std::cerr << failure_text(of_strategy(failing.value(), strategy), "mpi", difference) << "\n";
}

}  // namespace

std::string failure_text(const ParityCase& c, const std::string& transport,
                         const std::string& difference) {
  return "smallest mesh: " + to_string(c.how.mesh) +
         "\ntrainer: " + std::string(entry_of(c.strategy).name) +
         "\nfirst difference: " + difference + "\nrerun: build/bin/meshparity-verify --transport " +
         transport + " --case '" + to_line(c) + "'";
}

Sample rapidcheck_sample() {
  const rc::detail::TestParams& params = rc::detail::configuration().testParams;
  return {static_cast<std::size_t>(params.maxSuccess), params.seed};
}

bool holds_simulated(const Sample& sample, ParityTally& tally, std::optional<ModelKind> model) {
  std::optional<Strategy> failed;  // from then on RapidCheck shrinks, and only this one is trained
  return holds("every strategy gives the bits of one rank on simulated meshes", sample, [&] {
    const std::vector<ParityCase> cases =
        *parity_cases(Reduction::canonical, kSimulatedRanks, model);
    const Question question(cases.front());
    for (const ParityCase& c : cases) {
      if (failed && c.strategy != *failed) continue;
      const auto difference = difference_simulated(c, question);
      if (!failed) {
        tally.add(c, "sim", !difference);
        tally.add_met(question.expected);
      }
      if (!difference) continue;
      failed = c.strategy;
      RC_FAIL(failure_text(c, "sim", *difference));
    }
  });
}

bool holds_natively(const Sample& sample, ParityTally& tally) {
  return holds("native reductions stay within the derived bound", sample, [&] {
    const std::vector<ParityCase> cases = *parity_cases(Reduction::native, kSimulatedRanks);
    const Question question(cases.front());
    for (const ParityCase& c : cases) {
      double ratio = 0;
      const auto difference = difference_from_oracle(c, question, ratio);
      tally.add_native(c, ratio);
      if (difference) RC_FAIL(failure_text(c, "sim", *difference));
    }
  });
}

bool holds_under_mpi(const std::vector<Strategy>& dealt, std::size_t cases, std::uint64_t seed,
                     ParityTally& tally) {
  struct Dealt {
    Drawn drawn;
    ParityCase c;
  };
  std::vector<Dealt> hand;
  rc::Random random(seed);
  const auto generator = parity_cases(Reduction::canonical, kMpiRanks);
  for (std::size_t i = 0; i < cases; ++i) {
    Drawn drawn = generator(random.split(), rc::kNominalSize);
    ParityCase c = of_strategy(drawn.value(), dealt[i % dealt.size()]);
    hand.push_back({std::move(drawn), std::move(c)});
  }
  // A job has as many ranks as its largest case, and idle ranks cost time: small meshes go
  // together.
  std::ranges::stable_sort(hand, {}, [](const Dealt& one) { return one.c.how.mesh.size(); });

  const std::size_t per_job = (cases + 2) / 3;
  for (std::size_t first = 0; first < cases; first += per_job) {
    std::vector<ParityCase> job;
    for (std::size_t i = first; i < std::min(first + per_job, cases); ++i) {
      job.push_back(hand[i].c);
    }
    const auto failure = failure_under_mpi(job);
    const std::size_t judged = failure ? failure->number + 1 : job.size();
    for (std::size_t i = 0; i < judged; ++i) {
      tally.add(job[i], "mpi", !failure || i < failure->number);
    }
    if (failure) {
      const Dealt& failing = hand[first + failure->number];
      shrink_under_mpi(failing.drawn, failing.c.strategy, failure->difference);
      return false;
    }
  }
  return true;
}

}  // namespace meshparity
