#include "model/layer.h"

#include <algorithm>

#include "model/kernels.h"
#include "model/linear.h"

namespace meshparity {
namespace {

class Embedding final : public Layer {
 public:
  explicit Embedding(const EmbeddingSpec& spec) : spec_(spec) {
    for (const ParameterSpec& parameter : parameters_of(LayerSpec{spec})) {
      parameters_.emplace_back(parameter);
    }
  }

  const std::vector<Shard>& parameters() const override { return parameters_; }
  std::size_t input_width() const override { return 0; }
  std::size_t output_width() const override { return spec_.context * spec_.width; }

  void forward(const MicroBatch& batch, ParameterValues parameters,
               std::span<const float> /*input*/, std::span<float> output) override {
    const std::size_t width = spec_.width;
    for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
      const auto token = static_cast<std::size_t>(batch.tokens[i]);
      std::copy_n(parameters[0].begin() + static_cast<std::ptrdiff_t>(token * width), width,
                  output.begin() + static_cast<std::ptrdiff_t>(i * width));
    }
  }

  // A token's gradient is the sum of the output gradients of the places where it stands, in order
  // of (sample, position). A token that does not occur in a leaf adds +0 there, which changes no
  // sum.
  void backward(const MicroBatch& batch, ParameterValues /*parameters*/,
                std::span<const float> /*input*/, std::span<const float> /*output*/,
                std::span<float> output_gradient, std::span<float> /*input_gradient*/,
                std::span<PartialSum> gradients) override {
    const std::size_t width = spec_.width;
    const std::size_t leaf_tokens = batch.batch_grain * spec_.context;
    for (std::size_t first = 0; first < batch.tokens.size(); first += leaf_tokens) {
      const std::span<float> sum = gradients[0].next_zeroed();
      const std::size_t end = std::min(first + leaf_tokens, batch.tokens.size());
      for (std::size_t i = first; i < end; ++i) {
        const auto token = static_cast<std::size_t>(batch.tokens[i]);
        add_rows(output_gradient.subspan(i * width, width), 1, sum.subspan(token * width, width));
      }
      gradients[0].push();
    }
  }

 private:
  EmbeddingSpec spec_;
  std::vector<Shard> parameters_;
};

class Linear final : public Layer {
 public:
  Linear(const LinearSpec& spec, std::size_t /*max_samples*/)
      : spec_(spec), transposed_weight_(spec.inputs * spec.outputs) {
    for (const ParameterSpec& parameter : parameters_of(LayerSpec{spec})) {
      parameters_.emplace_back(parameter);
    }
  }

  const std::vector<Shard>& parameters() const override { return parameters_; }
  std::size_t input_width() const override { return spec_.inputs; }
  std::size_t output_width() const override { return spec_.outputs; }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output) override {
    const MatrixView x(input, batch.samples, spec_.inputs);
    const MatrixView weight(parameters[0], spec_.inputs, spec_.outputs);
    canonical_product(x, weight, spec_.input_grain, output);
    add_bias(output, batch.samples, parameters[1]);
    if (spec_.relu) relu_forward(output);
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> output, std::span<float> output_gradient,
                std::span<float> input_gradient, std::span<PartialSum> gradients) override {
    const MatrixView x(input, batch.samples, spec_.inputs);
    const MatrixView weight(parameters[0], spec_.inputs, spec_.outputs);
    if (spec_.relu) relu_backward(output, output_gradient);
    const MatrixView dy(output_gradient, batch.samples, spec_.outputs);
    push_linear_gradients(batch, x, dy, gradients);
    transpose(weight, transposed_weight_);
    canonical_product(dy, MatrixView(transposed_weight_, spec_.outputs, spec_.inputs),
                      spec_.output_grain, input_gradient);
  }

 private:
  LinearSpec spec_;
  std::vector<Shard> parameters_;
  std::vector<float> transposed_weight_;
};

}  // namespace

void push_linear_gradients(const MicroBatch& batch, const MatrixView& input,
                           const MatrixView& output_gradient, std::span<PartialSum> gradients) {
  for (std::size_t first = 0; first < batch.samples; first += batch.batch_grain) {
    const Run leaf{first, std::min(first + batch.batch_grain, batch.samples)};
    const MatrixView x = input.row_run(leaf);
    const MatrixView dy = output_gradient.row_run(leaf);
    canonical_product(x.transposed(), dy, leaf.size(), gradients[0].next());
    gradients[0].push();
    add_rows({dy.data, dy.rows * dy.columns}, dy.rows, gradients[1].next_zeroed());
    gradients[1].push();
  }
}

std::vector<ParameterSpec> parameters_of(const LayerSpec& spec) {
  if (const auto* embedding = std::get_if<EmbeddingSpec>(&spec)) {
    return {{embedding->name + ".weight", embedding->vocabulary, embedding->width, false,
             embedding->width}};
  }
  const auto& linear = std::get<LinearSpec>(spec);
  return {{linear.name + ".weight", linear.inputs, linear.outputs, false, linear.inputs},
          {linear.name + ".bias", 1, linear.outputs, true, linear.inputs}};
}

std::unique_ptr<Layer> make_layer(const LayerSpec& spec, std::size_t max_samples) {
  if (const auto* embedding = std::get_if<EmbeddingSpec>(&spec)) {
    return std::make_unique<Embedding>(*embedding);
  }
  return std::make_unique<Linear>(std::get<LinearSpec>(spec), max_samples);
}

}  // namespace meshparity
