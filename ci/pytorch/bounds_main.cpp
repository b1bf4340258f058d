// meshparity-bounds: how far a float32 run may be from the true values of what it recorded. Beside
// each step-000000.safetensors of `meshparity-train --record-tensors` it writes
// step-000000.bounds.safetensors: a bound for every element of `loss` and `grad/<name>`, and where
// the next step was recorded too, of what the update made: `param/<name>` given the new moments,
// `exp_avg/<name>` and `exp_avg_sq/<name>`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "golden/files/safetensors.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "oracle/optimizer_numbers.h"
#include "oracle/oracle.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Writes the oracle's rounding bounds beside the steps that meshparity-train --record-tensors\n"
    "recorded. Only for small models: the bounds follow every error through the whole step.";

fs::path step_path(const fs::path& directory, std::size_t step, const char* ending) {
  return directory / fmt::format("step-{:06}{}", step, ending);
}

/// A step as it was recorded.
class RecordedStep {
 public:
  explicit RecordedStep(const fs::path& path) : file_(load_safetensors(path.string())) {
    for (const StoredTensor& tensor : file_.tensors) tensors_.emplace(tensor.name, &tensor);
    for (const char* key : {"recipe", "step"}) {
      if (file_.metadata.contains(key)) continue;
      throw UsageError(fmt::format("'{}' names no {}", path.string(), key),
                       "record it with meshparity-train --record-tensors");
    }
    apply_recipe_text(recipe_, file_.metadata["recipe"], path.string());
    number_ = parse_whole(file_.metadata["step"]);
  }

  const Recipe& recipe() const { return recipe_; }
  std::size_t number() const { return number_; }

  const StoredTensor& tensor(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      throw UsageError(fmt::format("step {} has no tensor '{}'", number_, name));
    }
    return *found->second;
  }
  template <typename Element>
  const std::vector<Element>& values(const std::string& name) const {
    const auto* const held = std::get_if<std::vector<Element>>(&tensor(name).values);
    if (held == nullptr) {
      throw UsageError(fmt::format("step {}: '{}' has the wrong type", number_, name));
    }
    return *held;
  }
  const std::vector<float>& floats(const std::string& name) const { return values<float>(name); }

  /// The model that was trained; an embedding has a row for every token.
  Model model() const {
    const bool is_mlp = recipe_.model == ModelKind::mlp;
    const StoredTensor& tokens = tensor(is_mlp ? "param/embedding.weight" : "param/wte.weight");
    return model_of(recipe_, tokens.shape.at(0));
  }

  /// The whole global batch, in the recording's memory.
  MicroBatch batch() const {
    const std::vector<Token>& targets = values<Token>("batch.targets");
    const auto absent = std::ranges::count(targets, kNoTarget);
    const std::size_t valid = targets.size() - static_cast<std::size_t>(absent);
    return {.seed = recipe_.seed,
            .step = number_,
            .slots = {0, recipe_.batch},
            .leaves = {.positions = positions_of(recipe_),
                       .samples = recipe_.batch_grain,
                       .parts = recipe_.sequence_leaves},
            .tokens = values<Token>("batch.tokens"),
            .targets = targets,
            .inverse_targets = valid == 0 ? 0.0F : 1.0F / static_cast<float>(valid)};
  }

 private:
  TensorFile file_;
  std::map<std::string, const StoredTensor*> tensors_;
  Recipe recipe_;
  std::size_t number_ = 0;
};

/// Rounded up to floats, so that they are bounds still.
void add_bound(TensorFile& file, const std::string& name, std::vector<std::size_t> shape,
               const std::vector<double>& bound) {
  std::vector<float> above;
  for (const double b : bound) {
    const auto nearest = static_cast<float>(b);
    const float next = std::nextafter(nearest, std::numeric_limits<float>::infinity());
    above.push_back(static_cast<double>(nearest) < b ? next : nearest);
  }
  file.tensors.push_back({name, std::move(shape), std::move(above)});
}

void add_gradient_bounds(TensorFile& file, const Model& model, const RecordedStep& step) {
  Tensors parameters;
  for (const ParameterSpec& spec : model.parameters) {
    parameters[spec.name] = widened(spec, step.floats("param/" + spec.name));
  }
  const OracleStep oracle = oracle_step(model, parameters, step.batch());
  add_bound(file, "loss", {1}, oracle.loss.bound);
  for (std::size_t p = 0; p < model.parameters.size(); ++p) {
    const std::string name = "grad/" + model.parameters[p].name;
    add_bound(file, name, step.tensor(name).shape, oracle.gradients[p].bound);
  }
}

void add_update_bounds(TensorFile& file, const Model& model, const RecordedStep& step,
                       const RecordedStep& next) {
  FloatTensors gradients;
  for (const ParameterSpec& spec : model.parameters) {
    gradients[spec.name] = step.floats("grad/" + spec.name);
  }
  UpdateUnderTest update;
  update.optimizer = step.recipe().optimizer;
  update.numbers = optimizer_numbers(step.recipe(), step.number(), gradients);
  const bool has_moments = update.optimizer == OptimizerKind::adamw;
  for (const ParameterSpec& spec : model.parameters) {
    const std::string first = "exp_avg/" + spec.name;
    const std::string second = "exp_avg_sq/" + spec.name;
    update.decays = spec.decays;
    update.values = step.floats("param/" + spec.name);
    update.gradient = gradients[spec.name];
    if (has_moments) {
      update.first_moment = step.floats(first);
      update.second_moment = step.floats(second);
      update.new_first_moment = next.floats(first);
      update.new_second_moment = next.floats(second);
    }
    const BoundedUpdate expected = bounded_update(update);
    const std::vector<std::size_t>& shape = step.tensor("param/" + spec.name).shape;
    add_bound(file, "param/" + spec.name, shape, expected.values.bound);
    if (!has_moments) continue;
    add_bound(file, first, shape, expected.first_moment.bound);
    add_bound(file, second, shape, expected.second_moment.bound);
  }
}

int bounds_command(const std::vector<std::string>& arguments) {
  CLI::App app(kDescription, "meshparity-bounds");
  std::string directory;
  app.add_option("DIR", directory, "what --record-tensors named")->required();
  parse_arguments(app, arguments);
  std::size_t steps = 0;
  for (; fs::exists(step_path(directory, steps, ".safetensors")); ++steps) {
    const RecordedStep step(step_path(directory, steps, ".safetensors"));
    const Model model = step.model();
    TensorFile file;
    add_gradient_bounds(file, model, step);
    const fs::path next = step_path(directory, steps + 1, ".safetensors");
    if (fs::exists(next)) add_update_bounds(file, model, step, RecordedStep(next));
    save_safetensors(step_path(directory, steps, ".bounds.safetensors").string(), file);
  }
  if (steps > 0) return kSuccess;
  throw UsageError(fmt::format("'{}' holds no step-000000.safetensors", directory),
                   "meshparity-train --record-tensors DIR");
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::bounds_command(meshparity::arguments_of(argc, argv)); });
}
