#include <algorithm>

#include "model/block.h"
#include "model/numerics/kernels.h"
#include "model/scattered_rows.h"
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
        parameters_{{Shard(context.used[kToken], tokens_, {0, width_}), false, Pushed::by_node},
                    {Shard(context.used[kPosition]), true, Pushed::by_node}},
        vectors_(context.group.rows_of(context.used[kToken].rows, spec.vocab_grain,
                                       context.most_rows, width_)),
        token_gradient_(context.most_rows, 1, width_, tokens_),
        position_gradient_(context.most_rows, 1, width_, {0, context.used[kPosition].rows}),
        positions_(context.most_rows) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {}; }
  Features output() const override { return {width_, {0, width_}, true}; }

  void forward(const MicroBatch& batch, ParameterValues parameters,
               std::span<const float> /*input*/, std::span<float> output,
               std::span<float> /*saved*/) override {
    gather_mine(parameters[kToken], batch.tokens, output);
    vectors_->exchange(batch.tokens, output);  // each rank its tokens' -> replicated
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
    for (std::size_t row = 0; row < batch.rows(); ++row) {
      positions_[row] = static_cast<Token>(row % batch.leaves.positions);
    }
    token_gradient_.push(batch, batch.tokens, output_gradient, gradients[kToken]);  // like token
    position_gradient_.push(batch, std::span<const Token>(positions_).first(batch.rows()),
                            output_gradient, gradients[kPosition]);  // replicated
  }

 private:
  /// The vectors of the tokens that are here.
  void gather_mine(std::span<const float> table, std::span<const Token> tokens,
                   std::span<float> output) const {
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      const auto token = static_cast<std::size_t>(tokens[row]);
      if (token < tokens_.begin || token >= tokens_.end) continue;
      std::ranges::copy(table.subspan((token - tokens_.begin) * width_, width_),
                        output.subspan(row * width_, width_).begin());
    }
  }

  TokenAndPositionSpec spec_;
  std::size_t width_;
  Range tokens_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureRows> vectors_;
  ScatteredRows token_gradient_;
  ScatteredRows position_gradient_;
  std::vector<Token> positions_;  // of each row
};

}  // namespace

std::unique_ptr<Block> make_block(const TokenAndPositionSpec& spec, const BlockContext& context) {
  return std::make_unique<TokenAndPosition>(spec, context);
}

}  // namespace meshparity
