#include "golden/files/recording_shapes.h"

#include <fmt/format.h>

#include "golden/files/printable.h"
#include "golden/files/recording_header.h"
#include "golden/files/safetensors.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Shape = std::vector<std::size_t>;

constexpr const char* kHint =
    "compare 'model' of the metadata with the recorded parameters (golden/RECORDINGS.md)";

class Shapes {
 public:
  explicit Shapes(const RecordedStep& step) : step_(step) {}

  RecordingShapes take() { return std::move(result_); }

  /// Of a recorded parameter; {0, 0} of one that is missing.
  Shape found(const std::string& parameter) const {
    for (const char* const group : {"param/", "grad/"}) {
      if (const RecordedTensor* const tensor = step_.find(group + parameter)) {
        if (tensor->shape.size() == 2) return tensor->shape;
        throw UsageError(fmt::format("tensor '{}{}' is {}, no matrix", group, printable(parameter),
                                     shape_text(tensor->shape)),
                         kHint);
      }
    }
    return {0, 0};
  }
  /// Columns that a linear layer's weight gives.
  std::size_t outputs(const std::string& operation) const {
    const Shape shape = found(operation + ".weight");
    return step_.model.weights == WeightLayout::output_input ? shape[0] : shape[1];
  }

  void table(const std::string& name, std::size_t rows, std::size_t columns) {
    result_.parameters[name] = {rows, columns};
  }
  void linear(const std::string& operation, std::size_t inputs, std::size_t outputs) {
    const bool output_input = step_.model.weights == WeightLayout::output_input;
    result_.parameters[operation + ".weight"] =
        output_input ? Shape{outputs, inputs} : Shape{inputs, outputs};
    if (step_.model.biases) result_.parameters[operation + ".bias"] = {outputs};
    operation_of(operation, inputs, outputs);
  }
  void layer_norm(const std::string& operation, std::size_t width) {
    result_.parameters[operation + ".weight"] = {width};
    if (step_.model.biases) result_.parameters[operation + ".bias"] = {width};
    operation_of(operation, width, width);
  }
  void operation_of(const std::string& operation, std::size_t inputs, std::size_t outputs) {
    result_.operations[operation] = {inputs, outputs};
  }

 private:
  const RecordedStep& step_;
  RecordingShapes result_;
};

void gpt2_shapes(const RecordedModel& model, Shapes& shapes) {
  const Shape tokens = shapes.found("wte.weight");
  const std::size_t width = tokens[1];
  if (width % model.heads != 0) {
    throw UsageError(fmt::format("{} channels are no whole {} heads", width, model.heads), kHint);
  }
  shapes.table("wte.weight", tokens[0], width);
  shapes.table("wpe.weight", shapes.found("wpe.weight")[0], width);
  shapes.operation_of("wte", 0, width);
  shapes.operation_of("embedding", 0, width);
  for (std::size_t i = 0; i < model.layers; ++i) {
    const std::string block = fmt::format("h.{}.", i);
    const std::size_t features = shapes.outputs(block + "mlp.c_fc");
    shapes.layer_norm(block + "ln_1", width);
    shapes.linear(block + "attn.c_attn", width, 3 * width);
    shapes.linear(block + "attn.c_proj", width, width);
    shapes.operation_of(block + "residual_1", 0, width);
    shapes.layer_norm(block + "ln_2", width);
    shapes.linear(block + "mlp.c_fc", width, features);
    shapes.linear(block + "mlp.c_proj", features, width);
    shapes.operation_of(block + "residual_2", 0, width);
  }
  shapes.layer_norm("ln_f", width);
  shapes.operation_of("lm_head", width, tokens[0]);
  if (!model.tied) shapes.table("lm_head.weight", tokens[0], width);
}

void mlp_shapes(const RecordedModel& model, std::size_t tokens_of_sample, Shapes& shapes) {
  const Shape embedding = shapes.found("embedding.weight");
  shapes.table("embedding.weight", embedding[0], embedding[1]);
  std::size_t width = tokens_of_sample * embedding[1];
  shapes.operation_of("embedding", 0, width);
  for (std::size_t i = 0; i < model.layers; ++i) {
    const std::string operation = fmt::format("hidden.{}", i);
    shapes.linear(operation, width, shapes.outputs(operation));
    width = shapes.outputs(operation);
  }
  shapes.linear("output", width, embedding[0]);
}

/// "grad" and "h.0.ln_1.weight" of "grad/h.0.ln_1.weight".
std::pair<std::string, std::string> split(const std::string& tensor) {
  const bool of_state = tensor.starts_with("state/") || tensor.starts_with("state_after/");
  std::size_t at = tensor.find('/');
  if (of_state && at != std::string::npos) at = tensor.find('/', at + 1);
  if (at == std::string::npos) return {tensor, ""};
  return {tensor.substr(0, at), tensor.substr(at + 1)};
}

[[noreturn]] void refuse(const std::string& tensor, const std::string& why) {
  throw UsageError(fmt::format("tensor '{}' {}", printable(tensor), why), kHint);
}

/// An extent of 0 is not known.
bool fits(const Shape& found, const Shape& expected) {
  if (found.size() != expected.size()) return false;
  for (std::size_t d = 0; d < found.size(); ++d) {
    if (expected[d] != 0 && found[d] != expected[d]) return false;
  }
  return true;
}

void require_fit(const std::string& name, const RecordedTensor& tensor,
                 const RecordingShapes& shapes, std::size_t rows) {
  const auto [group, of] = split(name);
  Shape expected;
  if (group == "param" || group == "grad" || group == "param_after" || group == "state/exp_avg" ||
      group == "state/exp_avg_sq" || group == "state_after/exp_avg" ||
      group == "state_after/exp_avg_sq") {
    const auto found = shapes.parameters.find(of);
    if (found == shapes.parameters.end()) refuse(name, "is of no parameter that the model has");
    expected = found->second;
  } else {
    const bool is_input = group == "input" || group == "grad_input";
    const auto found = shapes.operations.find(of);
    if (found == shapes.operations.end() ||
        (!is_input && group != "output" && group != "grad_output")) {
      refuse(name, "is of no operation that the model has");
    }
    expected = {rows, is_input ? found->second.input : found->second.output};
  }
  if (fits(tensor.shape, expected)) return;
  refuse(name, fmt::format("is {}, not {}", shape_text(tensor.shape), shape_text(expected)));
}

void require_tokens(const RecordedStep& step) {
  const bool is_gpt2 = step.model.kind == RecordedModel::Kind::gpt2;
  Shapes shapes(step);
  const std::size_t vocabulary = shapes.found(is_gpt2 ? "wte.weight" : "embedding.weight")[0];
  if (vocabulary == 0) return;
  const auto known = [&](Token token) {
    return token >= 0 && static_cast<std::size_t>(token) < vocabulary;
  };
  for (const Token token : step.tokens) {
    if (!known(token)) {
      refuse("batch.tokens", fmt::format("holds {}; the vocabulary has {}", token, vocabulary));
    }
  }
  for (const Token token : step.targets) {
    if (token >= 0 && !known(token)) {
      refuse("batch.targets", fmt::format("holds {}; the vocabulary has {}", token, vocabulary));
    }
  }
  if (step.tokens.empty() || step.targets.empty()) return;
  if (is_gpt2 && step.tokens.size() != step.targets.size()) {
    refuse("batch.tokens", fmt::format("has {} elements, batch.targets {}", step.tokens.size(),
                                       step.targets.size()));
  }
  const std::size_t positions = is_gpt2 ? shapes.found("wpe.weight")[0] : 0;
  if (positions != 0 && step.positions > positions) {
    refuse("batch.tokens",
           fmt::format("has {} positions, param/wpe.weight {}", step.positions, positions));
  }
}

}  // namespace

RecordingShapes recording_shapes(const RecordedStep& step) {
  Shapes shapes(step);
  if (step.model.kind == RecordedModel::Kind::gpt2) {
    gpt2_shapes(step.model, shapes);
  } else {
    mlp_shapes(step.model, step.samples == 0 ? 0 : step.tokens.size() / step.samples, shapes);
  }
  return shapes.take();
}

void require_fitting_tensors(RecordedStep& step) {
  if (step.model.kind == RecordedModel::Kind::mlp) {
    const auto has = [&](const std::string& group) {
      return step.find(fmt::format("{}/hidden.{}.weight", group, step.model.layers)) != nullptr;
    };
    step.model.layers = 0;
    while (has("param") || has("grad")) ++step.model.layers;
  }
  const RecordingShapes shapes = recording_shapes(step);
  for (const auto& [name, tensor] : step.tensors) require_fit(name, tensor, shapes, step.rows());
  require_tokens(step);
}

}  // namespace meshparity
