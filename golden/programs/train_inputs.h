#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden/files/checkpoint.h"
#include "golden/files/loaded_model.h"
#include "golden/programs/train_options.h"
#include "model/corpus.h"
#include "model/recipe.h"

namespace meshparity {

/// What a run of meshparity-train reads before it begins.
struct TrainInputs {
  Recipe recipe;
  std::optional<LoadedModel> model;
  std::optional<Checkpoint> checkpoint;  ///< where it goes on
  std::optional<Corpus> corpus;
  std::string corpus_sha256;
  std::vector<Token> prompt;  ///< what samples begin with
  bool trains = true;         ///< false: only sample from, or validate, a loaded model
};

/// Reads files and checks that everything fits together. Throws UsageError.
TrainInputs read_train_inputs(const TrainOptions& options);

/// Throws UsageError if a result could not be written, or would replace an input or another result.
/// Leaves nothing behind.
void require_outputs(const TrainOptions& options, const Recipe& recipe);

}  // namespace meshparity
