#include "golden/programs/tensor_recorder.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/model_file.h"
#include "golden/files/recipe_file.h"
#include "golden/files/safetensors.h"
#include "model/error.h"
#include "model/numerics/transformer_kernels.h"
#include "model/optimizer.h"

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

TensorRecorder::TensorRecorder(std::string directory, const Recipe& recipe, const Corpus& corpus,
                               const Parallelism& how)
    : directory_(std::move(directory)),
      recipe_(recipe),
      how_(how),
      batches_(recipe, corpus),
      specs_(parameters_of(recipe, corpus)) {
  std::error_code error;
  std::filesystem::create_directory(directory_, error);
  if (error) {
    throw EnvironmentError(
        fmt::format("creating directory '{}' failed: {}", directory_, error.message()));
  }
}

std::string TensorRecorder::metadata_of(std::size_t step) const {
  using Json = nlohmann::ordered_json;
  Json json = {{"recording", 1}, {"step", step}};
  json["model"] = {{"kind", name_of(recipe_.model)}};
  if (recipe_.model == ModelKind::gpt2) {
    json["model"].update(Json{{"layers", recipe_.layers},
                              {"heads", recipe_.heads},
                              {"eps", static_cast<double>(kLayerNormEpsilon)},
                              {"gelu", "tanh"},
                              {"tied", recipe_.tied},
                              {"biases", true}});
    if (recipe_.dropout > 0) json["model"]["dropout"] = recipe_.dropout;
  }
  json["model"]["weights"] = "input_output";
  json["arithmetic"] = "float32";
  // Every microbatch gives its part of the one mean over the whole batch.
  json["parts"] = Json::array({{{"samples", {0, recipe_.batch}}, {"weight", 1}}});
  for (const auto& [axis, name] : kAxes) json["axes"][std::string(name)] = how_.mesh[axis];
  json["microbatches"] = how_.microbatches;
  Json& optimizer = json["optimizer"];
  optimizer = {{"kind", recipe_.optimizer == OptimizerKind::adamw ? "adamw" : "sgd"},
               {"lr", learning_rate(recipe_, step)}};
  if (recipe_.optimizer == OptimizerKind::adamw) {
    optimizer.update(Json{{"beta1", recipe_.beta1},
                          {"beta2", recipe_.beta2},
                          {"eps", recipe_.epsilon},
                          {"weight_decay", recipe_.weight_decay},
                          {"update", step + 1}});
    optimizer["decayed"] = Json::array();
    for (const ParameterSpec& spec : specs_) {
      if (spec.decays) optimizer["decayed"].push_back(file_name_of(spec.name));
    }
  }
  if (recipe_.clip > 0) json["clip"] = {{"max_norm", recipe_.clip}, {"formula", "exact"}};
  return json.dump();
}

void TensorRecorder::add(const std::string& what, const std::vector<std::vector<float>>& whole,
                         TensorFile& file) const {
  for (std::size_t i = 0; i < whole.size(); ++i) {
    file.tensors.push_back(stored_parameter(
        what + "/" + file_name_of(specs_[i].name), specs_[i],
        in_file_order(specs_[i], WeightLayout::input_output, recipe_.heads, whole[i])));
  }
}

std::string TensorRecorder::boundary_name(std::size_t boundary, std::size_t count) const {
  const bool last = boundary + 1 == count;
  if (recipe_.model == ModelKind::mlp) {
    if (last) return "output/output";
    return boundary + 2 == count ? "input/output" : fmt::format("input/hidden.{}", boundary - 1);
  }
  if (last) return "output/lm_head";
  if (boundary == 1) return "output/embedding";
  return fmt::format("output/h.{}.residual_{}", (boundary - 2) / 2, (boundary - 2) % 2 + 1);
}

void TensorRecorder::record(const StepTensors& tensors) {
  last_ = tensors.step;
  Batch batch = batches_.room_for(recipe_.batch);
  batches_.draw(Corpus::Split::training, tensors.step, {0, recipe_.batch}, batch);
  const std::size_t samples = recipe_.batch;
  TensorFile file;
  Recipe without_paths = recipe_;
  without_paths.data.clear();
  without_paths.validation_data.clear();
  file.metadata = {{"meshparity", metadata_of(tensors.step)}, {"recipe", to_text(without_paths)}};
  const std::size_t tokens = batch.tokens.size() / samples;
  file.tensors.push_back({"batch.tokens", {samples, tokens}, std::move(batch.tokens)});
  file.tensors.push_back(
      {"batch.targets", {samples, batches_.positions()}, std::move(batch.targets)});
  file.tensors.push_back({"loss", {1}, std::vector<float>{tensors.loss}});
  add("param", tensors.state.parameters, file);
  add("grad", tensors.gradients, file);
  add("state/exp_avg", tensors.state.first_moments, file);
  add("state/exp_avg_sq", tensors.state.second_moments, file);
  const auto& [values, gradients] = tensors.boundaries;
  const std::size_t rows = samples * batches_.positions();
  for (std::size_t b = 1; b < values.size(); ++b) {
    const std::string name = boundary_name(b, values.size());
    const std::size_t width = values[b].size() / rows;
    if (b == 1 && recipe_.model == ModelKind::mlp) {  // what the first layer gets, under both names
      file.tensors.push_back({"output/embedding", {rows, width}, values[b]});
    }
    file.tensors.push_back({name, {rows, width}, values[b]});
    file.tensors.push_back({"grad_" + name, {rows, width}, gradients.at(b)});
  }
  save_safetensors(step_path(directory_, tensors.step), file);
}

void TensorRecorder::finish(const StateTensors& after) const {
  const std::string path = step_path(directory_, last_);
  TensorFile file = load_safetensors(path);
  add("param_after", after.parameters, file);
  add("state_after/exp_avg", after.first_moments, file);
  add("state_after/exp_avg_sq", after.second_moments, file);
  save_safetensors(path, file);
}

}  // namespace meshparity
