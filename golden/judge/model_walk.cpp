#include "golden/judge/model_walk.h"

#include <fmt/format.h>

#include <algorithm>

namespace meshparity {
namespace {

/// What both models' walks share.
class Walk {
 public:
  Walk(const RecordedStep& step, const Operations& operations, const WalkWeights& weights,
       Operands& operands)
      : step_(step), model_(step.model), o_(operations), weights_(weights), operands_(operands) {}

 protected:
  BoundedMatrix take(const std::string& tensor) { return operands_.take(tensor); }
  void give(const std::string& tensor, const char* kind, BoundedMatrix computed) {
    operands_.give(tensor, kind, std::move(computed));
  }
  BoundedMatrix parameter(const std::string& name) { return operands_.parameter(name); }
  void give_gradient(const std::string& name, const char* kind, BoundedMatrix computed) {
    operands_.give_gradient(name, kind, std::move(computed));
  }
  RowWeights row_weights() const { return {weights_.gradients, weights_.parts}; }
  bool output_input() const { return model_.weights == WeightLayout::output_input; }

  void linear(const std::string& operation) {
    const BoundedMatrix x = take("input/" + operation);
    const BoundedMatrix w = parameter(operation + ".weight");
    if (model_.biases) {
      const BoundedMatrix bias = parameter(operation + ".bias");
      give("output/" + operation, "linear", o_.linear(x, w, output_input(), &bias));
    } else {
      give("output/" + operation, "linear", o_.linear(x, w, output_input(), nullptr));
    }
  }
  void linear_backward(const std::string& operation) {
    const BoundedMatrix dy = take("grad_output/" + operation);
    give("grad_input/" + operation, "linear: input gradient",
         o_.linear_input_gradient(dy, parameter(operation + ".weight"), output_input()));
    give_gradient(
        operation + ".weight", "linear: weight gradient",
        o_.linear_weight_gradient(take("input/" + operation), dy, output_input(), row_weights()));
    if (model_.biases) {
      give_gradient(operation + ".bias", "bias gradient", o_.bias_gradient(dy, row_weights()));
    }
  }

  void layer_norm(const std::string& operation) {
    const BoundedMatrix x = take("input/" + operation);
    const BoundedMatrix gain = parameter(operation + ".weight");
    if (model_.biases) {
      const BoundedMatrix bias = parameter(operation + ".bias");
      give("output/" + operation, "layer norm", o_.layer_norm(x, gain, &bias, model_.epsilon));
    } else {
      give("output/" + operation, "layer norm", o_.layer_norm(x, gain, nullptr, model_.epsilon));
    }
  }
  void layer_norm_backward(const std::string& operation) {
    const BoundedMatrix x = take("input/" + operation);
    const BoundedMatrix dy = take("grad_output/" + operation);
    give("grad_input/" + operation, "layer norm: input gradient",
         o_.layer_norm_input_gradient(x, parameter(operation + ".weight"), dy, model_.epsilon));
    give_gradient(operation + ".weight", "layer norm: gain gradient",
                  o_.layer_norm_gain_gradient(x, dy, model_.epsilon, row_weights()));
    if (model_.biases) {
      give_gradient(operation + ".bias", "bias gradient", o_.bias_gradient(dy, row_weights()));
    }
  }

  void loss(const std::string& head) {
    operands_.give_losses(o_.cross_entropy(take("output/" + head), step_.targets));
    give("grad_output/" + head, "loss: gradient",
         o_.cross_entropy_gradient(take("output/" + head), step_.targets, weights_.losses));
  }

  std::vector<std::size_t> tokens() const { return {step_.tokens.begin(), step_.tokens.end()}; }

  const RecordedStep& step_;
  const RecordedModel& model_;
  const Operations& o_;
  const WalkWeights& weights_;
  Operands& operands_;
};

class Gpt2Walk : Walk {
 public:
  using Walk::Walk;

  void run() {
    embed();
    for (std::size_t i = 0; i < model_.layers; ++i) forward(block(i), before(i));
    give("input/ln_f", "addition", o_.copy(take("output/" + before(model_.layers))));
    layer_norm("ln_f");
    give("input/lm_head", "copy", o_.copy(take("output/ln_f")));
    give("output/lm_head", "head",
         o_.linear(take("input/lm_head"), parameter(head()), true, nullptr));
    loss("lm_head");
    BoundedMatrix of_head = head_backward();
    give("grad_output/ln_f", "copy", o_.copy(take("grad_input/lm_head")));
    layer_norm_backward("ln_f");
    give("grad_output/" + before(model_.layers), "copy", o_.copy(take("grad_input/ln_f")));
    for (std::size_t i = model_.layers; i-- > 0;) backward(block(i), before(i));
    embed_backward(std::move(of_head));
  }

 private:
  static std::string block(std::size_t i) { return fmt::format("h.{}.", i); }
  /// What stands before block i, or after the last one.
  static std::string before(std::size_t i) {
    return i == 0 ? "embedding" : block(i - 1) + "residual_2";
  }
  std::string head() const { return model_.tied ? "wte.weight" : "lm_head.weight"; }
  AttentionHeads heads() const { return {step_.positions, model_.heads}; }
  GeluForm gelu() const {
    return model_.gelu == RecordedModel::Gelu::tanh ? GeluForm::tanh : GeluForm::erf;
  }
  std::vector<std::size_t> positions() const {
    std::vector<std::size_t> rows(step_.rows());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i % step_.positions;
    return rows;
  }

  void embed() {
    give("output/wte", "embedding", o_.gather(parameter("wte.weight"), tokens(), step_.rows()));
    give("output/embedding", "token + position",
         o_.add(take("output/wte"), o_.gather(parameter("wpe.weight"), positions(), step_.rows())));
  }

  void forward(const std::string& h, const std::string& stream) {
    give("input/" + h + "ln_1", "addition", o_.copy(take("output/" + stream)));
    layer_norm(h + "ln_1");
    give("input/" + h + "attn.c_attn", "copy", o_.copy(take("output/" + h + "ln_1")));
    linear(h + "attn.c_attn");
    give("input/" + h + "attn.c_proj", "attention",
         o_.attention(take("output/" + h + "attn.c_attn"), heads()));
    linear(h + "attn.c_proj");
    give("output/" + h + "residual_1", "addition",
         o_.add(take("input/" + h + "ln_1"), take("output/" + h + "attn.c_proj")));
    give("input/" + h + "ln_2", "addition", o_.copy(take("output/" + h + "residual_1")));
    layer_norm(h + "ln_2");
    give("input/" + h + "mlp.c_fc", "copy", o_.copy(take("output/" + h + "ln_2")));
    linear(h + "mlp.c_fc");
    give("input/" + h + "mlp.c_proj", "GELU", o_.gelu(take("output/" + h + "mlp.c_fc"), gelu()));
    linear(h + "mlp.c_proj");
    give("output/" + h + "residual_2", "addition",
         o_.add(take("input/" + h + "ln_2"), take("output/" + h + "mlp.c_proj")));
  }

  BoundedMatrix head_backward() {
    const BoundedMatrix d = take("grad_output/lm_head");
    give("grad_input/lm_head", "head: input gradient",
         o_.linear_input_gradient(d, parameter(head()), true));
    BoundedMatrix gradient =
        o_.linear_weight_gradient(take("input/lm_head"), d, true, row_weights());
    if (model_.tied) return gradient;
    give_gradient(head(), "head: weight gradient", std::move(gradient));
    return {};
  }

  void backward(const std::string& h, const std::string& stream) {
    give("grad_output/" + h + "mlp.c_proj", "addition: gradient",
         o_.copy(take("grad_output/" + h + "residual_2")));
    linear_backward(h + "mlp.c_proj");
    give("grad_output/" + h + "mlp.c_fc", "GELU: gradient",
         o_.gelu_gradient(take("output/" + h + "mlp.c_fc"), take("grad_input/" + h + "mlp.c_proj"),
                          gelu()));
    linear_backward(h + "mlp.c_fc");
    give("grad_output/" + h + "ln_2", "copy", o_.copy(take("grad_input/" + h + "mlp.c_fc")));
    layer_norm_backward(h + "ln_2");
    give("grad_output/" + h + "residual_1", "addition: gradient",
         o_.add(take("grad_output/" + h + "mlp.c_proj"), take("grad_input/" + h + "ln_2")));
    give("grad_output/" + h + "attn.c_proj", "addition: gradient",
         o_.copy(take("grad_output/" + h + "residual_1")));
    linear_backward(h + "attn.c_proj");
    give("grad_output/" + h + "attn.c_attn", "attention: gradient",
         o_.attention_gradient(take("output/" + h + "attn.c_attn"),
                               take("grad_input/" + h + "attn.c_proj"), heads()));
    linear_backward(h + "attn.c_attn");
    give("grad_output/" + h + "ln_1", "copy", o_.copy(take("grad_input/" + h + "attn.c_attn")));
    layer_norm_backward(h + "ln_1");
    give("grad_output/" + stream, "addition: gradient",
         o_.add(take("grad_output/" + h + "attn.c_proj"), take("grad_input/" + h + "ln_1")));
  }

  void embed_backward(BoundedMatrix of_head) {
    give("grad_output/wte", "addition: gradient", o_.copy(take("grad_output/embedding")));
    const BoundedMatrix d = take("grad_output/wte");
    const BoundedMatrix table = parameter("wpe.weight");
    give_gradient("wpe.weight", "embedding: gradient",
                  o_.scatter(d, positions(), table.rows, row_weights()));
    const std::size_t vocabulary = parameter("wte.weight").rows;
    BoundedMatrix of_tokens = o_.scatter(d, tokens(), vocabulary, row_weights());
    if (!model_.tied) {
      give_gradient("wte.weight", "embedding: gradient", std::move(of_tokens));
      return;
    }
    give_gradient("wte.weight", "embedding + head: gradient", o_.add(of_tokens, of_head));
    give_gradient("wte.weight (embedding)", "embedding: gradient", std::move(of_tokens));
    give_gradient("wte.weight (head)", "head: weight gradient", std::move(of_head));
  }
};

class MlpWalk : Walk {
 public:
  using Walk::Walk;

  void run() {
    give("output/embedding", "embedding",
         o_.gather(parameter("embedding.weight"), tokens(), step_.rows()));
    for (std::size_t i = 0; i <= model_.layers; ++i) {
      if (i == 0) {
        give("input/" + layer(i), "copy", o_.copy(take("output/embedding")));
      } else {
        give("input/" + layer(i), "ReLU", o_.relu(take("output/" + layer(i - 1))));
      }
      linear(layer(i));
    }
    loss("output");
    for (std::size_t i = model_.layers + 1; i-- > 0;) {
      linear_backward(layer(i));
      if (i == 0) continue;
      give("grad_output/" + layer(i - 1), "ReLU: gradient",
           o_.relu_gradient(take("output/" + layer(i - 1)), take("grad_input/" + layer(i))));
    }
    give("grad_output/embedding", "copy", o_.copy(take("grad_input/" + layer(0))));
    give_gradient("embedding.weight", "embedding: gradient",
                  o_.scatter(take("grad_output/embedding"), tokens(),
                             parameter("embedding.weight").rows, row_weights()));
  }

 private:
  std::string layer(std::size_t i) const {
    return i == model_.layers ? "output" : fmt::format("hidden.{}", i);
  }
};

}  // namespace

void walk_model(const RecordedStep& step, const Operations& operations, const WalkWeights& weights,
                Operands& operands) {
  if (step.model.kind == RecordedModel::Kind::gpt2) {
    Gpt2Walk(step, operations, weights, operands).run();
  } else {
    MlpWalk(step, operations, weights, operands).run();
  }
}

std::vector<std::string> boundary_names(const RecordedModel& model) {
  std::vector<std::string> boundaries;
  if (model.kind == RecordedModel::Kind::mlp) {
    boundaries = {"output/embedding", "output/output", "grad_output/output"};
    for (std::size_t i = 0; i <= model.layers; ++i) {
      const std::string layer = i == model.layers ? "output" : fmt::format("hidden.{}", i);
      boundaries.push_back("input/" + layer);
      boundaries.push_back("grad_input/" + layer);
    }
    return boundaries;
  }
  for (const char* const side : {"output/", "grad_output/"}) {
    boundaries.push_back(std::string(side) + "lm_head");
    boundaries.push_back(std::string(side) + "embedding");
    for (std::size_t i = 0; i < model.layers; ++i) {
      boundaries.push_back(fmt::format("{}h.{}.residual_1", side, i));
      boundaries.push_back(fmt::format("{}h.{}.residual_2", side, i));
    }
  }
  return boundaries;
}

std::vector<std::string> activation_names(const RecordedModel& model) {
  std::vector<std::string> names;
  const auto whole = [&](const std::string& operation) {
    for (const char* const side : {"input/", "output/", "grad_output/", "grad_input/"}) {
      names.push_back(side + operation);
    }
  };
  if (model.kind == RecordedModel::Kind::mlp) {
    names = {"output/embedding", "grad_output/embedding"};
    for (std::size_t i = 0; i < model.layers; ++i) whole(fmt::format("hidden.{}", i));
    whole("output");
    return names;
  }
  names = {"output/wte", "grad_output/wte"};
  for (std::size_t i = 0; i < model.layers; ++i) {
    for (const char* const operation :
         {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"}) {
      whole(fmt::format("h.{}.{}", i, operation));
    }
  }
  whole("ln_f");
  whole("lm_head");
  return names;
}

}  // namespace meshparity
