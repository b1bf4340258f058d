#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/recipe.h"
#include "model/working_memory.h"

namespace meshparity {

/// A whole trained model on one rank: what is left to do after training.
class Generator {
 public:
  /// Takes a copy of the parameters; `recipe` and `corpus` must outlive it.
  Generator(const Recipe& recipe, const Corpus& corpus, const ParameterSource& parameters);

  /// Document number `index` of this seed, without a line end: at most `max_bytes` bytes.
  std::string sample(std::uint64_t index, std::size_t max_bytes = 1000);

  /// Mean loss over `batches` (at least 1) batches of validation rows, in binary64.
  double validate(std::size_t batches);

 private:
  /// Runs the model; probabilities_ then has a row per sample.
  void forward(const MicroBatch& batch);

  const Recipe& recipe_;
  const Corpus& corpus_;
  Layers layers_;
  Parameters parameters_;
  Activations activations_;
  BatchBuffer batch_;
  PartialSum loss_sum_;
  std::vector<float> probabilities_;
};

/// The token whose part of the cumulative distribution holds `draw` in [0, 1). Probabilities are
/// added in binary32 in token order; where rounding leaves the total below the draw, the last token
/// with a probability above 0 is taken: there is always an answer.
Token pick_token(std::span<const float> probabilities, float draw);

}  // namespace meshparity
