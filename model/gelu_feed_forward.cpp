#include "model/block.h"
#include "model/linear.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/kernels.h"
#include "model/transformer.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kGain, kBias, kUp, kUpBias, kDown, kDownBias };

/// y = x + dropout(h down + down_bias),  h = gelu(u),  u = n up + up_bias,  n = layer_norm(x):
/// features are shared out.
class GeluFeedForward final : public Block {
 public:
  GeluFeedForward(const GeluFeedForwardSpec& spec, const BlockContext& context)
      : spec_(spec),
        width_(context.used[kUp].rows),
        features_(context.group.share(context.used[kUp].columns, spec.feature_grain)),
        parameters_{{Shard(context.used[kGain]), true},
                    {Shard(context.used[kBias]), true},
                    {Shard(context.used[kUp], {0, width_}, features_), false, Pushed::by_node},
                    {Shard(context.used[kUpBias], {0, 1}, features_), false},
                    {Shard(context.used[kDown], features_, {0, width_}), false, Pushed::by_node},
                    {Shard(context.used[kDownBias]), true}},
        y_(sum_over_features(context)),
        dn_(sum_over_features(context)),
        n_(context.most_rows * width_),
        dy_(spec.output.probability > 0 ? context.most_rows * width_ : 0),
        du_(context.most_rows * features_.size()) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {width_, {0, width_}, true}; }
  Features output() const override { return input(); }
  std::size_t saved() const override {  // as `Saved` lays it out
    return kSavedMoments + 2 * features_.size();
  }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output, std::span<float> saved) override {
    const std::size_t rows = batch.rows();
    const Saved<float> s(*this, saved, rows);
    const auto n_values = std::span<float>(n_).first(input.size());
    const MatrixView up(parameters[kUp], width_, features_.size());      // columns
    const MatrixView down(parameters[kDown], features_.size(), width_);  // rows

    layer_norm(input, parameters[kGain], parameters[kBias], {s.mean, s.inverse_deviation},
               n_values);
    const MatrixView n(n_values, rows, width_);                                     // replicated
    canonical_product(n, up, spec_.channel_grain, s.slope, {parameters[kUpBias]});  // u, sharded
    gelu(s.slope, s.h);  // of u, which backward needs no more than its slope
    const MatrixView h(s.h, rows, features_.size());
    y_->product(h, down, output, {parameters[kDownBias]});  // partial -> replicated
    apply_dropout(dropout_of(spec_.output, batch), rows, output);
    add(input, output, output);
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> /*output*/, std::span<const float> saved,
                std::span<float> output_gradient, std::span<float> input_gradient,
                std::span<PartialSum> gradients) override {
    const std::size_t rows = batch.rows();
    const Saved<const float> s(*this, saved, rows);
    const SavedMoments moments{s.mean, s.inverse_deviation};
    const MatrixView up(parameters[kUp], width_, features_.size());      // columns
    const MatrixView down(parameters[kDown], features_.size(), width_);  // rows
    const MatrixView h(s.h, rows, features_.size());                     // sharded

    const MatrixView dy(dropout_backward(spec_.output, batch, output_gradient, dy_), rows,
                        width_);  // replicated
    const auto du_values = std::span<float>(du_).first(s.slope.size());
    canonical_product(dy, down.transposed(), spec_.channel_grain, du_values);  // sharded
    gelu_backward(s.slope, du_values);
    const MatrixView du(du_values, rows, features_.size());
    dn_->begin(du, up.transposed(), input_gradient);  // partial

    const auto n_values = std::span<float>(n_).first(input.size());
    layer_norm_again(input, parameters[kGain], parameters[kBias], moments, n_values);
    const MatrixView n(n_values, rows, width_);            // replicated
    push_weight_gradient(batch, n, du, gradients[kUp]);    // like up
    push_bias_gradient(batch, du, gradients[kUpBias]);     // sharded
    push_weight_gradient(batch, h, dy, gradients[kDown]);  // like down
    push_bias_gradient(batch, dy, gradients[kDownBias]);   // replicated
    dn_->finish();                                         // replicated
    backward_through_layer_norm(batch, input, parameters[kGain], moments, input_gradient,
                                gradients[kGain], gradients[kBias]);  // replicated
    add(output_gradient, input_gradient, input_gradient);
  }

 private:
  /// What forward saves of each row.
  template <typename Float>
  struct Saved {
    Saved(const GeluFeedForward& block, std::span<Float> saved, std::size_t rows) {
      SavedRows<Float> matrices(saved, rows);
      mean = matrices.next(1);
      inverse_deviation = matrices.next(1);
      slope = matrices.next(block.features_.size());
      h = matrices.next(block.features_.size());
    }
    std::span<Float> mean, inverse_deviation, slope, h;
  };

  std::unique_ptr<FeatureSum> sum_over_features(const BlockContext& context) const {
    return context.group.sum_over(context.used[kUp].columns, spec_.feature_grain,
                                  context.most_rows * width_);
  }

  GeluFeedForwardSpec spec_;
  std::size_t width_;
  Range features_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureSum> y_;   // h down
  std::unique_ptr<FeatureSum> dn_;  // du up^T
  AlignedFloats n_;                 // (rows, width)
  AlignedFloats dy_;                // (rows, width), with dropout
  AlignedFloats du_;                // (rows, features here)
};

}  // namespace

std::unique_ptr<Block> make_block(const GeluFeedForwardSpec& spec, const BlockContext& context) {
  return std::make_unique<GeluFeedForward>(spec, context);
}

}  // namespace meshparity
