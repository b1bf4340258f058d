#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/training.h"
#include "parallel/transport/comm.h"
#include "property_tests/proof/parity_case.h"

namespace meshparity {

/// Everything one rank computed: what every mesh is held to.
struct Recording {
  struct Step {
    float loss = 0;
    double gradient_norm = 0;
    std::uint64_t digest = 0;
    std::map<std::string, std::vector<float>> values;  // before the update
    std::map<std::string, std::vector<float>> gradients;
  };
  std::vector<Step> steps;
  std::map<std::string, std::vector<float>> final_values;
  std::string divergence;  // the error that ended training, if one did
};

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

/// Trains the case's recipe with train_single.
Recording record_single(const ParityCase& c, const Corpus& corpus);

/// Trains the case on `world` and holds everything this rank has to `expected`, bit for bit: in
/// each step the parameters, the gradient before the optimizer, the loss, norm and digest; after
/// the last step the parameters. Copies of a tensor are all held to the same bits, so replicas
/// agree too. Where one rank diverged, this one must at the same step with the same words.
/// Collective. Returns the first difference that this rank saw.
std::optional<Difference> difference_on(Comm& world, const ParityCase& c, const Corpus& corpus,
                                        const Recording& expected);

/// The whole question in a simulated world. Returns what went wrong: the earliest and most telling
/// difference that any rank saw, a deadlock, a leak.
std::optional<std::string> difference_simulated(const ParityCase& c);

}  // namespace meshparity
