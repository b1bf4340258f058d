#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "golden/judge/step_values.h"

/// A step of a small GPT-2 as a framework could have recorded it, right or with a mistake.
namespace meshparity::recorded {

inline constexpr std::size_t kSamples = 4;
inline constexpr std::size_t kPositions = 8;
inline constexpr std::size_t kChannels = 8;
inline constexpr std::size_t kVocabulary = 13;

inline RecordedTensor random_tensor(std::vector<std::size_t> shape, float around, float width,
                                    std::mt19937& draw) {
  std::size_t size = 1;
  for (const std::size_t length : shape) size *= length;
  RecordedTensor tensor{std::move(shape), std::vector<float>(size)};
  for (float& x : tensor.values) {
    x = around + width * (static_cast<float>(draw() >> 8U) * 0x1p-23F - 1);
  }
  return tensor;
}

inline void add_parameters(RecordedStep& step, std::mt19937& draw) {
  const auto add = [&](const std::string& name, std::vector<std::size_t> shape, float around,
                       float width) {
    step.tensors["param/" + name] = random_tensor(std::move(shape), around, width, draw);
  };
  add("wte.weight", {kVocabulary, kChannels}, 0, 0.6F);
  add("wpe.weight", {kPositions, kChannels}, 0, 0.3F);
  for (std::size_t layer = 0; layer < step.model.layers; ++layer) {
    const std::string h = "h." + std::to_string(layer) + ".";
    for (const char* norm : {"ln_1", "ln_2"}) {
      add(h + norm + ".weight", {kChannels}, 1, 0.3F);
      add(h + norm + ".bias", {kChannels}, 0, 0.3F);
    }
    const auto linear = [&](const std::string& name, std::size_t in, std::size_t out) {
      add(h + name + ".weight", {out, in}, 0, 0.5F);
      add(h + name + ".bias", {out}, 0, 0.3F);
    };
    linear("attn.c_attn", kChannels, 3 * kChannels);
    linear("attn.c_proj", kChannels, kChannels);
    linear("mlp.c_fc", kChannels, 4 * kChannels);
    linear("mlp.c_proj", 4 * kChannels, kChannels);
  }
  add("ln_f.weight", {kChannels}, 1, 0.3F);
  add("ln_f.bias", {kChannels}, 0, 0.3F);
}

/// Two ranks that share the batch, which have different numbers of targets.
inline RecordedStep without_values() {
  RecordedStep step;
  step.ranks = 2;
  step.model.layers = 2;
  step.model.heads = 2;
  step.samples = kSamples;
  step.positions = kPositions;
  step.parts = {{.samples = {0, 2}, .weight = 0.5, .rank = 0},
                {.samples = {2, 4}, .weight = 0.5, .rank = 1}};
  std::mt19937 draw(7);
  for (std::size_t row = 0; row < step.rows(); ++row) {
    step.tokens.push_back(static_cast<Token>(draw() % kVocabulary));
    const bool absent = row % kPositions >= (row < 2 * kPositions ? 8U : 5U);
    step.targets.push_back(absent ? -1 : static_cast<Token>(draw() % kVocabulary));
  }
  add_parameters(step, draw);
  return step;
}

/// Names of what a recorder of all operations records, causes before effects.
inline std::vector<std::string> activations(const RecordedStep& step) {
  std::vector<std::string> forward;
  std::vector<std::string> backward = {"grad_output/lm_head", "grad_input/lm_head",
                                       "grad_output/ln_f", "grad_input/ln_f"};
  for (std::size_t layer = 0; layer < step.model.layers; ++layer) {
    const std::string h = "h." + std::to_string(layer) + ".";
    for (const char* operation :
         {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"}) {
      forward.push_back("input/" + h + operation);
      forward.push_back("output/" + h + operation);
    }
    const std::string back = "h." + std::to_string(step.model.layers - 1 - layer) + ".";
    for (const char* operation :
         {"mlp.c_proj", "mlp.c_fc", "ln_2", "attn.c_proj", "attn.c_attn", "ln_1"}) {
      backward.push_back("grad_output/" + back + operation);
      backward.push_back("grad_input/" + back + operation);
    }
  }
  for (const char* name : {"input/ln_f", "output/ln_f", "input/lm_head", "output/lm_head"}) {
    forward.emplace_back(name);
  }
  backward.emplace_back("grad_output/wte");
  forward.insert(forward.end(), backward.begin(), backward.end());
  return forward;
}

inline RecordedTensor rounded(const BoundedMatrix& matrix) {
  return {{matrix.rows, matrix.columns}, {matrix.value.begin(), matrix.value.end()}};
}

/// Records what a model with this deviation makes of it, each operation from recorded floats.
inline void add_activations(RecordedStep& step, const Deviation& deviation) {
  for (const std::string& name : activations(step)) {
    step.tensors[name] = rounded(StepValues(step, deviation).at(name));
  }
  const BoundedMatrix loss = StepValues(step, deviation).computed("loss");
  step.has_losses = true;
  for (std::size_t p = 0; p < step.parts.size(); ++p) {
    step.parts[p].loss = static_cast<double>(static_cast<float>(loss.value[p]));
  }
}

inline std::vector<std::string> parameters(const RecordedStep& step) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : step.tensors) {
    if (name.starts_with("param/")) names.push_back(name.substr(name.find('/') + 1));
  }
  return names;
}

inline void add_gradients(RecordedStep& step, const Deviation& deviation = {}) {
  StepValues values(step, deviation);
  for (const std::string& name : parameters(step)) {
    const std::vector<double> gradient = values.gradient(name, values.row_weights());
    step.tensors["grad/" + name] = {step.tensors["param/" + name].shape,
                                    {gradient.begin(), gradient.end()}};
  }
}

inline RecordedStep complete_step(const Deviation& deviation = {}) {
  RecordedStep step = without_values();
  add_activations(step, deviation);
  add_gradients(step, deviation);
  return step;
}

}  // namespace meshparity::recorded
