#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/corpus.h"
#include "model/model.h"
#include "oracle/recording.h"
#include "parallel/transport/comm.h"
#include "property_tests/proof/comparison.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// A recipe with all that follows from it, and what one rank computed: what every mesh is held to.
struct Question {
  /// Of any case of the recipe: how it trains does not matter. Without a model of its own, the
  /// recipe's.
  explicit Question(const ParityCase& c, std::optional<Model> its_model = std::nullopt);

  Recipe recipe;
  Corpus corpus;
  Model model;
  Recording expected;
};

/// Trains the case on `world` and holds everything this rank has to one rank's (see Comparison).
/// Copies of a tensor are all held to the same bits, so replicas agree too. Where one rank
/// diverged, this one must at the same step with the same words. Collective. Returns the first
/// difference that this rank saw.
std::optional<Difference> difference_on(Comm& world, const ParityCase& c, const Question& question);

/// Collective, for a case that differs: trains it again and names the first boundary between blocks
/// that is not one rank's, such as "step 0, output of hidden.0".
std::string first_boundary_on(Comm& world, const ParityCase& c, const Question& question);

/// The whole question in a simulated world. Returns what went wrong: the earliest and most telling
/// difference that any rank saw and the first boundary that differs, a deadlock, a leak.
std::optional<std::string> difference_simulated(const ParityCase& c, const Question& question);

}  // namespace meshparity
