#include "model/embedding.h"

#include <algorithm>

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

  void backward(const MicroBatch& batch, ParameterValues /*parameters*/,
                std::span<const float> /*input*/, std::span<const float> /*output*/,
                std::span<const float> /*saved*/, std::span<float> output_gradient,
                std::span<float> /*input_gradient*/, std::span<PartialSum> gradients) override {
    push_rows_gradient(batch, batch.tokens, parameters_[kWeight].shard.rows, output_gradient,
                       gradients[kWeight]);
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

void gather_shared_rows(std::span<const float> table, std::size_t width, Range held,
                        std::span<const Token> indices, std::span<float> output) {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto index = static_cast<std::size_t>(indices[i]);
    if (index < held.begin || index >= held.end) continue;
    std::ranges::copy(table.subspan((index - held.begin) * width, width),
                      output.subspan(i * width, width).begin());
  }
}

void push_rows_gradient(const MicroBatch& batch, std::span<const Token> indices, Range held,
                        std::span<const float> dy, PartialSum& gradient) {
  const std::size_t of_row = indices.size() / batch.rows();
  const std::size_t width = dy.size() / indices.size();
  for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
    const Range rows = batch.leaves.rows_of(leaf, batch.samples());
    const std::span<float> sums = gradient.next_zeroed();
    for (std::size_t i = rows.begin * of_row; i < rows.end * of_row; ++i) {
      const auto index = static_cast<std::size_t>(indices[i]);
      if (index < held.begin || index >= held.end) continue;
      const std::span<float> sum = sums.subspan((index - held.begin) * width, width);
      add(sum, dy.subspan(i * width, width), sum);
    }
    gradient.push();
  }
}

}  // namespace meshparity
