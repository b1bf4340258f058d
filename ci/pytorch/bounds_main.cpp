// meshparity-bounds: how far a float32 run may be from the true values of what it recorded. Beside
// each step-000000.safetensors of `meshparity-train --record-tensors` it writes
// step-000000.bounds.safetensors: a bound for every element of `loss` and `grad/<name>`, and where
// the next step was recorded too, of what the update made: `param/<name>` given the new moments,
// `exp_avg/<name>` and `exp_avg_sq/<name>`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "golden/files/gpt2_names.h"
#include "golden/files/recipe_file.h"
#include "golden/files/safetensors.h"
#include "golden/files/strict_json.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "model/numerics/premises.h"
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
    for (const char* key : {"recipe", "meshparity"}) {
      if (file_.metadata.contains(key)) continue;
      throw UsageError(fmt::format("'{}' has no metadata '{}'", path.string(), key),
                       "record it with meshparity-train --record-tensors");
    }
    apply_recipe_text(recipe_, file_.metadata["recipe"], path.string());
    number_ = whole_member(parse_strict_json(file_.metadata["meshparity"]), "step");
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
  /// `grad/` or another group of a parameter, in the model's order.
  std::vector<float> floats(const std::string& group, const ParameterSpec& spec) const {
    const std::vector<float>& stored = values<float>(group + file_name_of(spec.name));
    if (stored.size() != spec.size()) {
      throw UsageError(fmt::format("step {}: {}{} has the wrong size", number_, group, spec.name));
    }
    const FileOrder order(spec, WeightLayout::input_output, recipe_.heads);
    std::vector<float> floats;
    for (std::size_t i = 0; i < stored.size(); ++i) floats.push_back(stored[order.index(i)]);
    return floats;
  }

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
std::vector<float> rounded_up(const std::vector<double>& bound) {
  std::vector<float> above;
  for (const double b : bound) {
    const auto nearest = static_cast<float>(b);
    const float next = std::nextafter(nearest, std::numeric_limits<float>::infinity());
    above.push_back(static_cast<double>(nearest) < b ? next : nearest);
  }
  return above;
}

/// The bounds of one step, as a file with the recording's names and order.
class BoundsFile {
 public:
  explicit BoundsFile(const RecordedStep& step) : step_(step), model_(step.model()) {}

  void add_loss_and_gradients() {
    Tensors parameters;
    for (const ParameterSpec& spec : model_.parameters) {
      parameters[spec.name] = widened(spec, step_.floats("param/", spec));
    }
    const OracleStep oracle = oracle_step(model_, parameters, step_.batch());
    file_.tensors.push_back({"loss", {1}, rounded_up(oracle.loss.bound)});
    for (std::size_t p = 0; p < model_.parameters.size(); ++p) {
      add("grad/", model_.parameters[p], oracle.gradients[p].bound);
    }
  }

  void add_update(const RecordedStep& next) {
    FloatTensors gradients;
    for (const ParameterSpec& spec : model_.parameters) {
      gradients[spec.name] = step_.floats("grad/", spec);
    }
    const OptimizerNumbers numbers = optimizer_numbers(step_.recipe(), step_.number(), gradients);
    for (const ParameterSpec& spec : model_.parameters) {
      const auto values = step_.floats("param/", spec);
      UpdateUnderTest update;
      update.optimizer = step_.recipe().optimizer;
      update.numbers = numbers;
      update.decays = spec.decays;
      update.values = values;
      update.gradient = gradients[spec.name];
      if (update.optimizer == OptimizerKind::sgd) {
        add("param/", spec, bounded_update(update).values.bound);
        continue;
      }
      const auto first = step_.floats("state/exp_avg/", spec);
      const auto second = step_.floats("state/exp_avg_sq/", spec);
      const auto new_first = next.floats("state/exp_avg/", spec);
      const auto new_second = next.floats("state/exp_avg_sq/", spec);
      update.first_moment = first;
      update.second_moment = second;
      update.new_first_moment = new_first;
      update.new_second_moment = new_second;
      const BoundedUpdate expected = bounded_update(update);
      add("param/", spec, expected.values.bound);
      add("exp_avg/", spec, expected.first_moment.bound);
      add("exp_avg_sq/", spec, expected.second_moment.bound);
    }
  }

  void save(const fs::path& path) const { save_safetensors(path.string(), file_); }

 private:
  void add(const std::string& group, const ParameterSpec& spec, const std::vector<double>& bound) {
    file_.tensors.push_back(
        {group + file_name_of(spec.name), shape_in_file(spec, WeightLayout::input_output),
         in_file_order(spec, WeightLayout::input_output, step_.recipe().heads, rounded_up(bound))});
  }

  const RecordedStep& step_;
  Model model_;
  TensorFile file_;
};

int bounds_command(const std::vector<std::string>& arguments) {
  CLI::App app(kDescription, "meshparity-bounds");
  std::string directory;
  app.add_option("DIR", directory, "what --record-tensors named")->required();
  parse_arguments(app, arguments);
  std::size_t steps = 0;
  for (; fs::exists(step_path(directory, steps, ".safetensors")); ++steps) {
    const RecordedStep step(step_path(directory, steps, ".safetensors"));
    BoundsFile bounds(step);
    bounds.add_loss_and_gradients();
    const fs::path next = step_path(directory, steps + 1, ".safetensors");
    if (fs::exists(next)) bounds.add_update(RecordedStep(next));
    bounds.save(step_path(directory, steps, ".bounds.safetensors"));
  }
  if (steps > 0) return kSuccess;
  throw UsageError(fmt::format("'{}' holds no step-000000.safetensors", directory),
                   "meshparity-train --record-tensors DIR");
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  return meshparity::run_program([&] {
    meshparity::require_premises();
    return meshparity::bounds_command(meshparity::arguments_of(argc, argv));
  });
}
