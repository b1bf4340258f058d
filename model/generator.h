#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/blocks.h"
#include "model/corpus.h"
#include "model/head.h"
#include "model/parameters.h"
#include "model/pass.h"
#include "model/recipe.h"

namespace meshparity {

/// A whole trained model on one rank: what is left to do after training.
class Generator {
 public:
  /// Takes a copy of the parameters; `recipe`, `model` and `corpus` must outlive it.
  Generator(const Recipe& recipe, const Model& model, const Corpus& corpus,
            const ParameterSource& parameters);

  /// Document number `index` of this seed, without a line end: at most `max_bytes` bytes.
  std::string sample(std::uint64_t index, std::size_t max_bytes = 1000);

  /// Mean loss over `batches` (at least 1) batches of validation rows, in binary64.
  double validate(std::size_t batches);

 private:
  /// Runs the model on what the pass has loaded; `probabilities_` then has a row for each.
  void evaluate();

  const Recipe& recipe_;
  const Corpus& corpus_;
  BatchSource batches_;
  AloneGroup alone_;
  Blocks blocks_;
  Head head_;
  Parameters parameters_;
  BoundaryGradients no_gradients_;
  Pass pass_;
  PartialSum losses_;
  std::vector<float> probabilities_;
};

/// The token whose part of the cumulative distribution holds `draw` in [0, 1). Probabilities are
/// added in binary32 in token order; where rounding leaves the total below the draw, the last token
/// with a probability above 0 is taken: there is always an answer.
Token pick_token(std::span<const float> probabilities, float draw);

}  // namespace meshparity
