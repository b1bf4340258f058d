#include "model/block.h"
#include "model/linear.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/kernels.h"
#include "model/transformer.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kGain, kBias, kToken };

/// z = n token^T,  n = layer_norm(x): the vocabulary is shared out.
class Logits final : public Block {
 public:
  Logits(const LogitsSpec& spec, const BlockContext& context)
      : spec_(spec),
        width_(context.used[kToken].columns),
        vocabulary_(context.used[kToken].rows),
        tokens_(context.group.share(vocabulary_, spec.vocab_grain)),
        parameters_{{Shard(context.used[kGain]), true},
                    {Shard(context.used[kBias]), true},
                    {Shard(context.used[kToken], tokens_, {0, width_}), false, Pushed::by_node}},
        dn_(context.group.sum_over(vocabulary_, spec.vocab_grain, context.most_rows * width_)),
        n_(context.most_rows * width_) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {width_, {0, width_}, true}; }
  Features output() const override { return {vocabulary_, tokens_, false}; }
  std::size_t saved() const override { return kSavedMoments; }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output, std::span<float> saved) override {
    SavedRows<float> matrices(saved, batch.rows());
    const RowMoments moments{matrices.next(1), matrices.next(1)};
    const auto n_values = std::span<float>(n_).first(input.size());
    const MatrixView token(parameters[kToken], tokens_.size(), width_);  // rows

    layer_norm(input, parameters[kGain], parameters[kBias], moments, n_values);
    const MatrixView n(n_values, batch.rows(), width_);                     // replicated
    canonical_product(n, token.transposed(), spec_.channel_grain, output);  // sharded
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> /*output*/, std::span<const float> saved,
                std::span<float> output_gradient, std::span<float> input_gradient,
                std::span<PartialSum> gradients) override {
    SavedRows<const float> matrices(saved, batch.rows());
    const SavedMoments moments{matrices.next(1), matrices.next(1)};
    const auto n_values = std::span<float>(n_).first(input.size());
    const MatrixView token(parameters[kToken], tokens_.size(), width_);  // rows
    const MatrixView dz(output_gradient, batch.rows(), tokens_.size());  // sharded

    dn_->begin(dz, token, input_gradient);  // partial
    layer_norm_again(input, parameters[kGain], parameters[kBias], moments, n_values);
    const MatrixView n(n_values, batch.rows(), width_);     // replicated
    push_weight_gradient(batch, dz, n, gradients[kToken]);  // like token
    dn_->finish();                                          // replicated
    backward_through_layer_norm(batch, input, parameters[kGain], moments, input_gradient,
                                gradients[kGain], gradients[kBias]);  // replicated
  }

 private:
  LogitsSpec spec_;
  std::size_t width_;
  std::size_t vocabulary_;
  Range tokens_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureSum> dn_;  // dz token
  AlignedFloats n_;                 // (rows, width)
};

}  // namespace

std::unique_ptr<Block> make_block(const LogitsSpec& spec, const BlockContext& context) {
  return std::make_unique<Logits>(spec, context);
}

}  // namespace meshparity
