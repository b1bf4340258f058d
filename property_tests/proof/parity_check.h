#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/corpus.h"
#include "model/model.h"
#include "oracle/recording.h"
#include "parallel/transport/comm.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// What a rank saw first that is not as it should be.
struct Difference {
  /// From cause to effect.
  enum class Kind { parameter, gradient, loss, statistics, missing };
  std::size_t step = 0;
  Kind kind = Kind::parameter;
  std::string text;

  bool comes_before(const Difference& other) const {
    return step != other.step ? step < other.step : kind < other.kind;
  }
};

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

/// True if two runs were ended by the same words, or by none. The sign of a NaN does not count.
bool same_divergence(std::string a, std::string b);

/// Trains the case on `world` and holds everything this rank has to one rank's, bit for bit: in
/// each step the parameters, the gradient before the optimizer, the loss, norm and digest; after
/// the last step the parameters. Copies of a tensor are all held to the same bits, so replicas
/// agree too. Where one rank diverged, this one must at the same step with the same words.
/// Collective. Returns the first difference that this rank saw.
std::optional<Difference> difference_on(Comm& world, const ParityCase& c, const Question& question);

/// Collective, for a case that differs: trains it again and names the first boundary between blocks
/// that is not one rank's, such as "step 0, output of hidden.0".
std::string first_boundary_on(Comm& world, const ParityCase& c, const Question& question);

/// The whole question in a simulated world. Returns what went wrong: the earliest and most telling
/// difference that any rank saw and the first boundary that differs, a deadlock, a leak.
std::optional<std::string> difference_simulated(const ParityCase& c, const Question& question);

}  // namespace meshparity
