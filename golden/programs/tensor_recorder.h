#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"
#include "golden/jobs/training_job.h"
#include "model/batch.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"
#include "parallel/strategy.h"

namespace meshparity {

/// Throws UsageError unless `directory` can be created or is writable and holds no recorded step:
/// steps of two runs must not mix. Leaves nothing behind.
void require_recordable(const std::string& directory);

/// Writes each step to `<directory>/step-000000.safetensors`, in the format of
/// golden/RECORDINGS.md: the batch, the loss, parameters, gradients, moments and, if they are
/// given, boundaries between blocks. All of them are whole, with the names and order of GPT-2's
/// files (golden/files/gpt2_names.h), and their bytes are the same from every mesh. A second
/// metadata key `recipe` (without paths) holds what the format has no word for.
class TensorRecorder {
 public:
  /// Creates the directory if it is missing. `recipe` and `corpus` must outlive the recorder.
  TensorRecorder(std::string directory, const Recipe& recipe, const Corpus& corpus,
                 const Parallelism& how);

  void record(const StepTensors& tensors);
  /// Adds to the file of the last step what it made; that of others is in the file after theirs.
  void finish(const StateTensors& after) const;

 private:
  /// The format's JSON object.
  std::string metadata_of(std::size_t step) const;
  /// What block `boundary` takes, or what the last one gives: "output/h.0.residual_1".
  std::string boundary_name(std::size_t boundary, std::size_t count) const;
  void add(const std::string& what, const std::vector<std::vector<float>>& whole,
           TensorFile& file) const;

  std::string directory_;
  const Recipe& recipe_;
  Parallelism how_;
  BatchSource batches_;
  std::vector<ParameterSpec> specs_;
  std::size_t last_ = 0;  // step that was recorded
};

}  // namespace meshparity
