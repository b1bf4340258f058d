#include "model/block.h"
#include "model/numerics/kernels.h"
#include "model/scattered_rows.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kWeight };

class Embedding final : public Block {
 public:
  Embedding(const EmbeddingSpec& spec, const BlockContext& context)
      : tokens_(spec.tokens),
        width_(context.used[kWeight].columns),
        parameters_{{Shard(context.used[kWeight]), true, Pushed::by_node}},
        scattered_(context.most_rows, tokens_, width_, {0, context.used[kWeight].rows}) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {}; }
  Features output() const override { return {tokens_ * width_, {0, tokens_ * width_}, true}; }

  void forward(const MicroBatch& batch, ParameterValues parameters,
               std::span<const float> /*input*/, std::span<float> output,
               std::span<float> /*saved*/) override {
    gather_rows(parameters[kWeight], width_, batch.tokens, output);  // replicated
  }

  void backward(const MicroBatch& batch, ParameterValues /*parameters*/,
                std::span<const float> /*input*/, std::span<const float> /*output*/,
                std::span<const float> /*saved*/, std::span<float> output_gradient,
                std::span<float> /*input_gradient*/, std::span<PartialSum> gradients) override {
    scattered_.push(batch, batch.tokens, output_gradient, gradients[kWeight]);
  }

 private:
  std::size_t tokens_;
  std::size_t width_;
  std::vector<HeldParameter> parameters_;
  ScatteredRows scattered_;
};

}  // namespace

std::unique_ptr<Block> make_block(const EmbeddingSpec& spec, const BlockContext& context) {
  return std::make_unique<Embedding>(spec, context);
}

}  // namespace meshparity
