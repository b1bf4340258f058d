#include "model/block.h"
#include "model/linear.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kUp, kUpBias, kDown, kDownBias };

/// y = x + (h down + down_bias),  h = relu(x up + up_bias): `up` is cut by columns, `down` by rows.
class FeedForward final : public Block {
 public:
  FeedForward(const FeedForwardSpec& spec, const BlockContext& context)
      : spec_(spec),
        width_{context.used[kUp].rows, {0, context.used[kUp].rows}, true},
        features_(context.group.share(context.used[kUp].columns, spec.feature_grain)),
        parameters_{{Shard(context.used[kUp], width_.here, features_), false, Pushed::by_node},
                    {Shard(context.used[kUpBias], {0, 1}, features_), false},
                    {Shard(context.used[kDown], features_, width_.here), false, Pushed::by_node},
                    {Shard(context.used[kDownBias]), true}},
        y_(sum_over_features(context)),
        dx_(sum_over_features(context)),
        dh_(context.most_rows * features_.size()) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return width_; }
  Features output() const override { return width_; }
  std::size_t saved() const override { return features_.size(); }  // h

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output, std::span<float> saved) override {
    const std::size_t rows = batch.rows();
    const MatrixView x(input, rows, width_.width);                             // replicated
    const MatrixView up(parameters[kUp], width_.width, features_.size());      // columns
    const MatrixView down(parameters[kDown], features_.size(), width_.width);  // rows
    canonical_product(x, up, spec_.width_grain, saved, {parameters[kUpBias], true});
    const MatrixView h(saved, rows, features_.size());      // sharded
    y_->product(h, down, output, {parameters[kDownBias]});  // partial -> replicated
    add(input, output, output);
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> /*output*/, std::span<const float> saved,
                std::span<float> output_gradient, std::span<float> input_gradient,
                std::span<PartialSum> gradients) override {
    const std::size_t rows = batch.rows();
    const MatrixView x(input, rows, width_.width);                             // replicated
    const MatrixView up(parameters[kUp], width_.width, features_.size());      // columns
    const MatrixView down(parameters[kDown], features_.size(), width_.width);  // rows
    const MatrixView h(saved, rows, features_.size());                         // sharded
    const MatrixView dy(output_gradient, rows, width_.width);                  // replicated
    const auto dh_values = std::span(dh_).first(saved.size());
    canonical_product(dy, down.transposed(), spec_.width_grain, dh_values);
    relu_backward(saved, dh_values);
    const MatrixView dh(dh_values, rows, features_.size());  // sharded
    dx_->begin(dh, up.transposed(), input_gradient);         // partial
    push_weight_gradient(batch, x, dh, gradients[kUp]);      // like up
    push_bias_gradient(batch, dh, gradients[kUpBias]);       // sharded
    push_weight_gradient(batch, h, dy, gradients[kDown]);    // like down
    push_bias_gradient(batch, dy, gradients[kDownBias]);     // replicated
    dx_->finish();                                           // replicated
    add(output_gradient, input_gradient, input_gradient);
  }

 private:
  std::unique_ptr<FeatureSum> sum_over_features(const BlockContext& context) const {
    return context.group.sum_over(context.used[kUp].columns, spec_.feature_grain,
                                  context.most_rows * width_.width);
  }

  FeedForwardSpec spec_;
  Features width_;
  Range features_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureSum> y_;   // h down
  std::unique_ptr<FeatureSum> dx_;  // dh up^T
  AlignedFloats dh_;                // (rows, features here)
};

}  // namespace

std::unique_ptr<Block> make_block(const FeedForwardSpec& spec, const BlockContext& context) {
  return std::make_unique<FeedForward>(spec, context);
}

}  // namespace meshparity
