#include "golden/programs/tensor_recorder.h"

#include <fmt/format.h>

#include <filesystem>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/model_file.h"
#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/safetensors.h"
#include "model/error.h"

namespace meshparity {
namespace {

std::string step_path(const std::string& directory, std::size_t step) {
  return (std::filesystem::path(directory) / fmt::format("step-{:06}.safetensors", step)).string();
}

}  // namespace

void require_recordable(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(directory, error)) {
    require_writable(fs::path(directory).lexically_normal().string());  // a name like any other
    return;
  }
  if (!fs::is_directory(directory, error)) {
    throw UsageError(fmt::format("--record-tensors '{}' is not a directory", directory),
                     "name a directory");
  }
  require_writable(step_path(directory, 0));
  for (const std::string& name : read_folder(directory)) {
    if (name.starts_with("step-") && name.ends_with(".safetensors")) {
      throw UsageError(fmt::format("--record-tensors '{}' already holds {}", directory, name),
                       "name another directory, or remove its files");
    }
  }
}

TensorRecorder::TensorRecorder(std::string directory, const Recipe& recipe, const Corpus& corpus)
    : directory_(std::move(directory)),
      recipe_(recipe),
      batches_(recipe, corpus),
      specs_(parameters_of(recipe, corpus)) {
  std::error_code error;
  std::filesystem::create_directory(directory_, error);
  if (error) {
    throw EnvironmentError(
        fmt::format("creating directory '{}' failed: {}", directory_, error.message()));
  }
}

void TensorRecorder::record(const StepTensors& tensors) const {
  Batch batch = batches_.room_for(recipe_.batch);
  batches_.draw(Corpus::Split::training, tensors.step, {0, recipe_.batch}, batch);
  std::vector<std::size_t> targets_shape{recipe_.batch};
  if (batches_.positions() > 1) targets_shape.push_back(batches_.positions());
  TensorFile file;
  Recipe without_paths = recipe_;
  without_paths.data.clear();
  without_paths.validation_data.clear();
  file.metadata = {{"step", std::to_string(tensors.step)},
                   {"loss", hex_text(static_cast<double>(tensors.loss))},
                   {"recipe", to_text(without_paths)}};
  file.tensors.push_back({"batch.tokens",
                          {recipe_.batch, batch.tokens.size() / recipe_.batch},
                          std::move(batch.tokens)});
  file.tensors.push_back({"batch.targets", std::move(targets_shape), std::move(batch.targets)});
  const auto add = [&](const char* what, const std::vector<std::vector<float>>& whole) {
    for (std::size_t i = 0; i < whole.size(); ++i) {
      file.tensors.push_back(stored_parameter(
          what + file_name_of(specs_[i].name), specs_[i],
          in_file_order(specs_[i], WeightLayout::input_output, recipe_.heads, whole[i])));
    }
  };
  add("param/", tensors.parameters);
  add("grad/", tensors.gradients);
  add("exp_avg/", tensors.first_moments);
  add("exp_avg_sq/", tensors.second_moments);
  save_safetensors(step_path(directory_, tensors.step), file);
}

}  // namespace meshparity
