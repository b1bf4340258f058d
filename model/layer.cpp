#include "model/layer.h"

#include <algorithm>

#include "model/numerics/kernels.h"
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
    gather_rows(parameters[0], spec_.width, batch.tokens, output);
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
      const std::size_t size = std::min(leaf_tokens, batch.tokens.size() - first);
      scatter_add_rows(output_gradient.subspan(first * width, size * width), width,
                       batch.tokens.subspan(first, size), sum);
      gradients[0].push();
    }
  }

 private:
  EmbeddingSpec spec_;
  std::vector<Shard> parameters_;
};

class Linear final : public Layer {
 public:
  explicit Linear(const LinearSpec& spec) : spec_(spec) {
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
    canonical_product(x, weight, spec_.input_grain, output, {parameters[1], spec_.relu});
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> output, std::span<float> output_gradient,
                std::span<float> input_gradient, std::span<PartialSum> gradients) override {
    const MatrixView x(input, batch.samples, spec_.inputs);
    const MatrixView weight(parameters[0], spec_.inputs, spec_.outputs);
    if (spec_.relu) relu_backward(output, output_gradient);
    const MatrixView dy(output_gradient, batch.samples, spec_.outputs);
    // The weight's gradient last: whoever sends it next finds it in the cache.
    canonical_product(dy, weight.transposed(), spec_.output_grain, input_gradient);
    push_linear_gradients(batch, x, dy, gradients);
  }

 private:
  LinearSpec spec_;
  std::vector<Shard> parameters_;
};

}  // namespace

void push_linear_gradients(const MicroBatch& batch, const MatrixView& input,
                           const MatrixView& output_gradient, std::span<PartialSum> gradients) {
  const std::size_t grain = batch.batch_grain;
  // The weight's gradient, one node at a time: the leaves inside a node are the product's.
  PartialSum& weight = gradients[0];
  for (Range rest{0, batch.samples}; !rest.empty();) {
    const Range node = weight.next_node(leaf_count(rest.size(), grain));
    const Range samples{rest.begin, std::min(rest.begin + node.size() * grain, rest.end)};
    canonical_product(input.row_range(samples).transposed(), output_gradient.row_range(samples), grain,
                      weight.next());
    weight.push(node.size());
    rest.begin = samples.end;
  }
  PartialSum& bias = gradients[1];
  for (std::size_t first = 0; first < batch.samples; first += grain) {
    const MatrixView dy = output_gradient.row_range({first, std::min(first + grain, batch.samples)});
    add_rows({dy.data, dy.rows * dy.columns}, dy.rows, bias.next_zeroed());
    bias.push();
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

std::unique_ptr<Layer> make_layer(const LayerSpec& spec) {
  if (const auto* embedding = std::get_if<EmbeddingSpec>(&spec)) {
    return std::make_unique<Embedding>(*embedding);
  }
  return std::make_unique<Linear>(std::get<LinearSpec>(spec));
}

}  // namespace meshparity
