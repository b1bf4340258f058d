#include "golden/programs/train_inputs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "golden/files/corpus_file.h"
#include "golden/files/file_io.h"
#include "golden/files/llmc_checkpoint.h"
#include "golden/files/model_file.h"
#include "golden/files/recipe_file.h"
#include "golden/jobs/training_job.h"
#include "golden/programs/tensor_recorder.h"
#include "model/error.h"

namespace meshparity {
namespace {

/// A loaded model's recipe, then the recipe file, then the flags: the later wins.
Recipe recipe_of(const TrainOptions& options, const std::optional<LoadedModel>& model) {
  Recipe recipe;
  if (model) recipe = model->recipe();
  if (!options.recipe_path.empty()) apply_recipe_file(recipe, options.recipe_path);
  for (const auto& [key, value] : options.overrides) set_recipe_field(recipe, key, value);
  return recipe;
}

bool trains(const TrainOptions& options) {
  const bool uses_model =
      options.samples > 0 || options.validation_batches > 0 || !options.export_path.empty();
  return options.load_path.empty() || !uses_model || options.overrides_field("steps");
}

void require_no_training_results(const TrainOptions& options) {
  const std::pair<const char*, const std::string*> results[] = {
      {"--trace", &options.trace_path},
      {"--record-tensors", &options.tensors_path},
      {"--save", &options.save_path}};
  for (const auto& [flag, path] : results) {
    if (path->empty()) continue;
    throw UsageError(
        fmt::format(
            "{} '{}' wants a training run, but --load with --sample, --validate or --export "
            "does not train",
            flag, *path),
        "say how far to train with --steps");
  }
}

bool same_file(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  return std::filesystem::path(a).lexically_normal() ==
             std::filesystem::path(b).lexically_normal() ||
         std::filesystem::equivalent(a, b, error);
}

/// A checkpoint is written while the loaded model is read from, and would not be a trace.
void require_export_apart(const TrainOptions& options) {
  const std::pair<const char*, const std::string*> others[] = {{"--trace", &options.trace_path},
                                                               {"--save", &options.save_path},
                                                               {"--load", &options.load_path}};
  for (const auto& [flag, path] : others) {
    if (!same_file(options.export_path, *path)) continue;
    throw UsageError(fmt::format("'{}' is both --export and {}", options.export_path, flag),
                     "name two files");
  }
}

}  // namespace

TrainInputs read_train_inputs(const TrainOptions& options) {
  TrainInputs inputs;
  if (!options.load_path.empty()) inputs.model.emplace(options.load_path);
  inputs.recipe = recipe_of(options, inputs.model);
  if (inputs.model) inputs.model->fit(inputs.recipe);
  if (!options.export_path.empty()) require_exportable(inputs.recipe);
  inputs.trains = trains(options);
  if (!inputs.trains) require_no_training_results(options);

  const bool vocabulary_is_enough = !inputs.trains && options.validation_batches == 0 &&
                                    inputs.recipe.data.empty() && inputs.model->has_recipe();
  if (vocabulary_is_enough) {
    inputs.corpus = inputs.model->vocabulary_corpus(inputs.recipe.context);
    inputs.corpus_sha256 = inputs.model->corpus_sha256();
  } else {
    auto [corpus, hash] = read_corpus(inputs.recipe);
    inputs.corpus = std::move(corpus);
    inputs.corpus_sha256 = std::move(hash);
  }
  validate(inputs.recipe, inputs.corpus->vocabulary());
  validate(options.how, inputs.recipe, model_of(inputs.recipe, inputs.corpus->vocabulary()));
  if (inputs.model) {
    inputs.model->require_vocabulary(*inputs.corpus);
    inputs.model->require_parameters(parameters_of(inputs.recipe, *inputs.corpus));
  }
  return inputs;
}

void require_outputs(const TrainOptions& options, const Recipe& recipe) {
  for (const std::string* output :
       {&options.trace_path, &options.save_path, &options.export_path}) {
    if (output->empty()) continue;
    require_writable(*output);
    for (const std::string* input : {&recipe.data, &options.recipe_path}) {
      if (!same_file(*output, *input)) continue;
      throw UsageError(fmt::format("'{}' would be overwritten: it is an input", *output),
                       "name another file");
    }
  }
  if (same_file(options.trace_path, options.save_path)) {
    throw UsageError(fmt::format("'{}' is both --trace and --save", options.save_path),
                     "name two files");
  }
  if (!options.save_path.empty()) require_saveable(options.save_path, recipe);
  require_export_apart(options);
  if (same_file(options.trace_path, options.load_path)) {
    throw UsageError(fmt::format("'{}' is both --trace and --load", options.load_path),
                     "name two files");
  }
  if (!options.tensors_path.empty()) require_recordable(options.tensors_path);
}

}  // namespace meshparity
