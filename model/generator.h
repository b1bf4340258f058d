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

/// How a text is sampled.
struct Sampling {
  std::vector<Token> prompt{};  ///< what it begins with
  std::size_t most = 1000;      ///< tokens after the prompt
  float temperature = 1;        ///< logits are divided by it: > 0
  std::size_t top_k = 0;        ///< only the most likely tokens are picked; 0: any
};

/// A whole trained model on one rank: what is left to do after training.
class Generator {
 public:
  /// Takes a copy of the parameters; `recipe`, `model` and `corpus` must outlive it.
  Generator(const Recipe& recipe, const Model& model, const Corpus& corpus,
            const ParameterSource& parameters);

  /// Text number `index` of this seed, prompt included. With a boundary token in the vocabulary it
  /// is a document, which may end early, without a line end.
  std::string sample(std::uint64_t index, const Sampling& how = {});

  /// Mean loss over all targets of `batches` (at least 1) batches of the validation part, drawn in
  /// the recipe's order; in binary64.
  double validate(std::size_t batches);

  /// Mean loss over all targets of the whole validation part.
  struct Validation {
    double loss = 0;
    std::size_t targets = 0;
  };
  Validation validate_all();

 private:
  /// Runs the model on what the pass has loaded; the pass then has its logits.
  void run();
  /// Logits -> a row of `probabilities_` for each, and losses.
  void evaluate();
  /// Loads as much of the end of a text as the model can see.
  void load_end(std::span<const Token> text);
  /// Of the text that is loaded.
  Token next_token(const Sampling& how, float draw);
  void add_losses(Validation& sum);

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
  std::vector<float> sorted_;  // logits of a row, largest first
};

/// Divides logits by a temperature > 0, counted from the largest, and sets all but the `top_k`
/// largest (0: none; of equals the first) to -infinity. `sorted` is room for as many.
void shape_logits(std::span<float> logits, float temperature, std::size_t top_k,
                  std::span<float> sorted);

/// The token whose part of the cumulative distribution holds `draw` in [0, 1). Probabilities are
/// added in binary32 in token order; where rounding leaves the total below the draw, the last token
/// with a probability above 0 is taken: there is always an answer.
Token pick_token(std::span<const float> probabilities, float draw);

}  // namespace meshparity
