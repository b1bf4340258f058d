#include "golden/programs/train_inputs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
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

/// Throws UsageError if `recipe` is of another model than `said` was.
void require_model(const Recipe& recipe, ModelKind said, const std::string& by) {
  if (recipe.model == said) return;
  throw UsageError(
      fmt::format("{} is of {}, but the recipe is of {}", by, name_of(said), name_of(recipe.model)),
      "let both name the same model");
}

/// A saved recipe, then the recipe file, then the flags: the later wins. All of them must be of one
/// model.
Recipe recipe_of(const TrainOptions& options, const TrainInputs& inputs) {
  Recipe recipe;
  const std::optional<LoadedModel>& model = inputs.model;
  const bool goes_on = inputs.checkpoint || (model && model->has_recipe());
  if (model) recipe = model->recipe();
  if (inputs.checkpoint) recipe = inputs.checkpoint->header().recipe;
  const ModelKind saved = recipe.model;
  const SaidField* const flag = options.override_of("model");
  if (flag != nullptr && !goes_on) set_recipe_field(recipe, flag->key, flag->value);
  if (!options.recipe_path.empty()) apply_recipe_file(recipe, options.recipe_path);
  if (flag != nullptr) require_model(recipe, model_named(flag->value), flag->place + "model");
  apply_fields(recipe, options.overrides);
  if (goes_on) require_model(recipe, saved, "the saved model");
  return recipe;
}

/// The newest complete checkpoint.
Checkpoint newest(const std::string& folder) {
  const std::vector<StoredCheckpoint> all = checkpoints_in(folder);
  if (!all.empty()) return Checkpoint(all.back().path);
  throw UsageError(fmt::format("--checkpoints '{}' holds no complete checkpoint", folder),
                   "leave out --resume, or name the folder of an earlier run");
}

bool trains(const TrainOptions& options) {
  return options.load_path.empty() || !options.uses_model() || options.overrides_field("steps");
}

/// Bytes of memory that this process may have; 0 if nobody says.
double bytes_of_machine() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGE_SIZE);
  double bytes = pages > 0 && page > 0 ? static_cast<double>(pages) * static_cast<double>(page) : 0;
  double limit = 0;  // of the container, where there is one
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit && limit > 0) {
    bytes = bytes > 0 ? std::min(bytes, limit) : limit;
  }
  return bytes;
}

/// Throws UsageError if what is trained cannot fit this machine, however it is shared out. (What it
/// takes in all depends on the strategy.)
void require_memory(const TrainOptions& options, const Recipe& recipe, std::size_t vocabulary) {
  constexpr double kGigabyte = 1e9;
  const double all = least_bytes(recipe, vocabulary, options.how.microbatches);
  const double needed = all / static_cast<double>(options.how.mesh.size());
  const double machine = bytes_of_machine();
  if (machine == 0 || needed <= machine) return;
  throw UsageError(fmt::format("training takes at least {:.1f} GB on each rank, this machine has "
                               "{:.1f} GB",
                               needed / kGigabyte, machine / kGigabyte),
                   "use a smaller model or batch, --microbatches, or a larger --mesh");
}

/// Throws UsageError if there is nothing to validate on.
void require_validation_part(const TrainOptions& options, const Recipe& recipe,
                             const Corpus& corpus) {
  if (!options.validates()) return;
  const auto split = Corpus::Split::validation;
  const bool enough = options.validates_all ? corpus.consecutive_samples(split) > 0
                      : recipe.order == DataOrder::sequential
                          ? corpus.batches_in_order(split, recipe.batch) > 0
                          : corpus.samples(split) > 0;
  if (enough) return;
  const bool unnamed = recipe.form == DataForm::tokens && recipe.validation_data.empty();
  throw UsageError(
      unnamed ? std::string("--validate: token files have no validation part")
              : fmt::format("--validate: the validation part is too short for {}",
                            options.validates_all ? "a target" : "a batch"),
      unnamed ? "name others with --validation-data" : "use a longer corpus, or --validate all");
}

void require_no_training_results(const TrainOptions& options) {
  const std::pair<const char*, const std::string*> results[] = {
      {"--trace", &options.trace_path},
      {"--record-tensors", &options.tensors_path},
      {"--save", &options.save_path},
      {"--checkpoints", &options.checkpoints.folder}};
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
  if (options.resume) inputs.checkpoint.emplace(newest(options.checkpoints.folder));
  inputs.recipe = recipe_of(options, inputs);
  if (inputs.model) inputs.model->fit(inputs.recipe);
  if (!options.export_path.empty()) require_exportable(inputs.recipe);
  inputs.trains = trains(options);
  if (!inputs.trains) require_no_training_results(options);

  const bool vocabulary_is_enough = !inputs.trains && !options.validates() &&
                                    inputs.recipe.data.empty() && inputs.model->has_recipe();
  if (vocabulary_is_enough) {
    inputs.corpus = inputs.model->vocabulary_corpus(inputs.recipe);
    inputs.corpus_sha256 = inputs.model->corpus_sha256();
  } else {
    auto [corpus, hash] = read_corpus(inputs.recipe);
    inputs.corpus = std::move(corpus);
    inputs.corpus_sha256 = std::move(hash);
  }
  validate(inputs.recipe, inputs.corpus->vocabulary());
  if (inputs.checkpoint) {
    require_same_run(inputs.checkpoint->header(), inputs.checkpoint->path(), inputs.recipe,
                     inputs.corpus_sha256);
  }
  require_validation_part(options, inputs.recipe, *inputs.corpus);
  if (inputs.trains) require_memory(options, inputs.recipe, inputs.corpus->vocabulary());
  if (options.prompt) {
    try {
      inputs.prompt = inputs.corpus->encode(*options.prompt);
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("--prompt: {}", e.what()), e.hint());
    }
  }
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
  if (!options.checkpoints.folder.empty()) {
    prepare_folder(options.checkpoints.folder, options.resume);
  }
}

}  // namespace meshparity
