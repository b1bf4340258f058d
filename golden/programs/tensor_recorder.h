#pragma once

#include <string>
#include <vector>

#include "golden/jobs/training_job.h"
#include "model/batch.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity {

/// Throws UsageError unless `directory` can be created or is writable and holds no recorded step:
/// steps of two runs must not mix. Leaves nothing behind.
void require_recordable(const std::string& directory);

/// Writes each step to `<directory>/step-000000.safetensors`: `batch.tokens` (batch, context),
/// `batch.targets` (batch; with several targets a sample: batch, positions; -1: none), then for
/// every parameter `param/<name>` before the update, `grad/<name>` before clipping and with AdamW
/// `exp_avg/<name>` and `exp_avg_sq/<name>`, its moments before the update; metadata `step`, `loss`
/// (hexadecimal) and `recipe` (without paths). Names and order are those of GPT-2's files
/// (golden/files/gpt2_names.h).
class TensorRecorder {
 public:
  /// Creates the directory if it is missing. `recipe` and `corpus` must outlive the recorder.
  TensorRecorder(std::string directory, const Recipe& recipe, const Corpus& corpus);

  void record(const StepTensors& tensors) const;

 private:
  std::string directory_;
  const Recipe& recipe_;
  BatchSource batches_;
  std::vector<ParameterSpec> specs_;
};

}  // namespace meshparity
