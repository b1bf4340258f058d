#pragma once

#include <functional>
#include <string>
#include <vector>

#include "golden/jobs/training_job.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity::bench {

/// A recipe and what training it needs.
struct Workload {
  /// On the corpus that the recipe names.
  Workload(std::string workload_name, Recipe workload_recipe);
  Workload(std::string workload_name, Recipe workload_recipe, Corpus workload_corpus);

  TrainingJob job(const Parallelism& how = {}) const { return {recipe, corpus, initial, how}; }

  std::string name;
  Recipe recipe;
  Corpus corpus;
  InitialParameters initial;
};

/// The recipe's defaults: ml.c's model, which fits into the innermost caches.
Workload default_workload(const std::string& corpus_path, std::size_t steps);

/// A model whose products take most of the time: embedding 64, hidden 1024, batch 256.
Workload wide_workload(const std::string& corpus_path, std::size_t steps);

/// An MLP of 75.7 M parameters.
Workload large_mlp_workload(const std::string& corpus_path, std::size_t steps);

/// nanoGPT's recipe for processors (4 layers, 4 heads, 128 channels, 64 positions, batch 12, AdamW,
/// clipping), on a text of 65 different characters that are drawn at random.
Workload small_gpt2_workload(std::size_t steps);

/// GPT-2 of 124 M parameters, batch 4 of 64 positions, AdamW, on tokens drawn at random.
Workload full_gpt2_workload(std::size_t steps);

/// What a training run gave, on rank 0; other ranks have nothing.
struct TimedTraining {
  double step_seconds = 0;
  double core_share = 0;  ///< processor time / wall time: below 1 where other work had the core
  std::vector<float> losses;
  std::vector<std::vector<float>> parameters;

  /// Throws std::runtime_error unless every loss and every parameter has the same bits.
  void require_same_bits(const TimedTraining& other) const;
};

/// Runs a trainer with the sinks it is given.
using Train = std::function<void(const TrainingSinks&)>;

/// The mean processor time of a step, over all threads of this process. The first steps, which
/// still fill the caches, are left out. Losses and parameters are not kept.
double step_processor_seconds(const Train& train, std::size_t steps);

/// A step's wall time: the time that a tenth of the steps is below. Collective if `train` is.
TimedTraining train_on_the_clock(const Train& train);

/// One rank, no communication.
TimedTraining train_alone_on_the_clock(const Workload& workload);

}  // namespace meshparity::bench
