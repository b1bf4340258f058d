#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "model/numerics/canonical_sum.h"
#include "model/corpus.h"
#include "model/parameter.h"

namespace meshparity {

/// The samples that go through the layers together: a run of whole leaves of the global batch.
struct MicroBatch {
  std::size_t samples = 0;
  std::size_t batch_grain = 1;     ///< samples per leaf; only the batch's last leaf may be short
  std::span<const Token> tokens;   ///< (samples, context)
  std::span<const Token> targets;  ///< (samples)
};

/// The parameters of one layer, in the layer's own order.
using ParameterValues = std::span<const std::span<const float>>;

/// One step of depth, as this rank computes it. `forward` and `backward` have the same shape.
/// Activations are row-major (samples, width). A pipeline cuts the model between layers.
class Layer {
 public:
  virtual ~Layer() = default;

  /// The part of each parameter that this rank computes with.
  virtual const std::vector<Shard>& parameters() const = 0;

  /// Floats per sample that this rank takes and gives.
  virtual std::size_t input_width() const = 0;
  virtual std::size_t output_width() const = 0;

  virtual void forward(const MicroBatch& batch, ParameterValues parameters,
                       std::span<const float> input, std::span<float> output) = 0;

  /// `output` is what `forward` gave. `output_gradient` is used up as scratch. `input_gradient` is
  /// overwritten; a layer that reads tokens gets an empty one. Every parameter's gradient is pushed
  /// onto `gradients`, one leaf of the batch at a time.
  virtual void backward(const MicroBatch& batch, ParameterValues parameters,
                        std::span<const float> input, std::span<const float> output,
                        std::span<float> output_gradient, std::span<float> input_gradient,
                        std::span<PartialSum> gradients) = 0;
};

/// Tokens -> concatenated vectors: output (samples, context * width).
/// Parameter: `<name>.weight` (vocabulary, width).
struct EmbeddingSpec {
  std::string name;
  std::size_t vocabulary = 0;
  std::size_t width = 0;
  std::size_t context = 0;
};

/// How tensor parallelism may cut a linear layer. Columns first, then rows: in between, each rank
/// holds a part of the features and nothing needs to be exchanged (Megatron-LM, arXiv:1909.08053).
enum class LinearSplit { whole, columns, rows };

/// output = [relu](input * weight + bias).
/// Parameters: `<name>.weight` (inputs, outputs), `<name>.bias` (outputs).
struct LinearSpec {
  std::string name;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  bool relu = false;
  LinearSplit split = LinearSplit::whole;
  std::size_t input_grain = 1;   ///< of sums over the inputs (forward)
  std::size_t output_grain = 1;  ///< of sums over the outputs (input gradient)
};

using LayerSpec = std::variant<EmbeddingSpec, LinearSpec>;

/// The whole parameters of a layer.
std::vector<ParameterSpec> parameters_of(const LayerSpec& spec);

/// The layer as one rank computes it alone.
std::unique_ptr<Layer> make_layer(const LayerSpec& spec);

}  // namespace meshparity
