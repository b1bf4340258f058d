#include "model/block.h"
#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kWeight };

class Embedding final : public Block {
 public:
  Embedding(const EmbeddingSpec& spec, std::span<const ParameterSpec> used)
      : tokens_(spec.tokens),
        width_(used[kWeight].columns),
        parameters_{{Shard(used[kWeight]), true}} {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {}; }
  Features output() const override { return {tokens_ * width_, {0, tokens_ * width_}, true}; }

  void forward(const MicroBatch& batch, ParameterValues parameters,
               std::span<const float> /*input*/, std::span<float> output,
               std::span<float> /*saved*/) override {
    gather_rows(parameters[kWeight], width_, batch.tokens, output);  // replicated
  }

  // A token's gradient is the sum of the output gradients of the places where it stands, in order
  // of (row, place). A token that does not occur in a leaf adds +0 there, which changes no sum.
  void backward(const MicroBatch& batch, ParameterValues /*parameters*/,
                std::span<const float> /*input*/, std::span<const float> /*output*/,
                std::span<const float> /*saved*/, std::span<float> output_gradient,
                std::span<float> /*input_gradient*/, std::span<PartialSum> gradients) override {
    PartialSum& gradient = gradients[kWeight];
    for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
      const Range rows = batch.leaves.rows_of(leaf, batch.samples());
      const Range places{rows.begin * tokens_, rows.end * tokens_};
      scatter_add_rows(output_gradient.subspan(places.begin * width_, places.size() * width_),
                       width_, batch.tokens.subspan(places.begin, places.size()),
                       gradient.next_zeroed());
      gradient.push();
    }
  }

 private:
  std::size_t tokens_;
  std::size_t width_;
  std::vector<HeldParameter> parameters_;
};

}  // namespace

std::unique_ptr<Block> make_block(const EmbeddingSpec& spec, const BlockContext& context) {
  return std::make_unique<Embedding>(spec, context.used);
}

}  // namespace meshparity
