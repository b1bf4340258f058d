#include "model/block.h"
#include "model/embedding.h"
#include "model/numerics/kernels.h"
#include "model/transformer.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kToken, kPosition };

/// x = dropout(token[t] + position[i]) for token t at position i: the token's vectors are cut by
/// rows.
class TokenAndPosition final : public Block {
 public:
  TokenAndPosition(const TokenAndPositionSpec& spec, const BlockContext& context)
      : spec_(spec),
        width_(context.used[kToken].columns),
        tokens_(context.group.share(context.used[kToken].rows, spec.vocab_grain)),
        parameters_{{Shard(context.used[kToken], tokens_, {0, width_}), false},
                    {Shard(context.used[kPosition]), true}},
        vectors_(context.group.rows_of(context.used[kToken].rows, spec.vocab_grain,
                                       context.most_rows, width_)),
        positions_(context.most_rows) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {}; }
  Features output() const override { return {width_, {0, width_}, true}; }

  void forward(const MicroBatch& batch, ParameterValues parameters,
               std::span<const float> /*input*/, std::span<float> output,
               std::span<float> /*saved*/) override {
    gather_shared_rows(parameters[kToken], width_, tokens_, batch.tokens, output);  // mine
    vectors_->exchange(batch.tokens, output);                                       // replicated
    for (std::size_t row = 0; row < batch.rows(); ++row) {
      const std::span<float> x = output.subspan(row * width_, width_);
      add(x, parameters[kPosition].subspan(row % batch.leaves.positions * width_, width_), x);
    }
    apply_dropout(dropout_of(spec_.dropout, batch), batch.rows(), output);
  }

  void backward(const MicroBatch& batch, ParameterValues /*parameters*/,
                std::span<const float> /*input*/, std::span<const float> /*output*/,
                std::span<const float> /*saved*/, std::span<float> output_gradient,
                std::span<float> /*input_gradient*/, std::span<PartialSum> gradients) override {
    apply_dropout(dropout_of(spec_.dropout, batch), batch.rows(), output_gradient);
    push_rows_gradient(batch, batch.tokens, tokens_, output_gradient, gradients[kToken]);
    for (std::size_t row = 0; row < batch.rows(); ++row) {
      positions_[row] = static_cast<Token>(row % batch.leaves.positions);
    }
    push_rows_gradient(batch, std::span<const Token>(positions_).first(batch.rows()),
                       parameters_[kPosition].shard.rows, output_gradient, gradients[kPosition]);
  }

 private:
  TokenAndPositionSpec spec_;
  std::size_t width_;
  Range tokens_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureRows> vectors_;
  std::vector<Token> positions_;  // of each row
};

}  // namespace

std::unique_ptr<Block> make_block(const TokenAndPositionSpec& spec, const BlockContext& context) {
  return std::make_unique<TokenAndPosition>(spec, context);
}

}  // namespace meshparity
