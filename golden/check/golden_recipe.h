#pragma once

#include <functional>
#include <string>
#include <vector>

#include "golden/files/trace_file.h"
#include "golden/jobs/training_job.h"
#include "model/corpus.h"
#include "model/recipe.h"

namespace meshparity {

/// A recipe of golden/recipes with its corpus, and where its trace belongs.
struct GoldenRecipe {
  std::string name;
  std::size_t number = 0;  ///< among all recipes, by name
  std::string recipe_path;
  std::string trace_path;
  Recipe recipe;
  Corpus corpus;
  std::string corpus_sha256;

  TraceHeader header() const { return header_of(recipe, corpus_sha256); }
};

/// The recipes of `<golden_dir>/recipes` by name, all of them or the one named `only`. Throws
/// UsageError if there is none, or one that cannot be trained.
std::vector<GoldenRecipe> golden_recipes(const std::string& golden_dir, const std::string& only);

/// How many steps lie between two that a golden records: about a hundred are, few enough to read.
std::size_t golden_interval(std::size_t steps);

/// The first `steps` steps of the recipe's run; records every `every`-th. `train` is given a job on
/// one rank, which it may change, and the sinks to feed.
Trace traced(const GoldenRecipe& golden, std::size_t steps, std::size_t every,
             const std::function<void(TrainingJob, const TrainingSinks&)>& train);

}  // namespace meshparity
