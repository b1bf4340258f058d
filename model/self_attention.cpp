#include <cmath>

#include "model/block.h"
#include "model/linear.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/kernels.h"
#include "model/transformer.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kGain, kBias, kQkv, kQkvBias, kProjection, kProjectionBias };

/// y = x + dropout(o projection + projection_bias),  o = attention(n qkv + qkv_bias),
/// n = layer_norm(x): heads are shared out.
class SelfAttention final : public Block {
 public:
  SelfAttention(const SelfAttentionSpec& spec, const BlockContext& context)
      : spec_(spec),
        width_(context.used[kProjection].columns),
        head_size_(context.used[kProjection].rows / spec.heads),
        heads_(context.group.share(spec.heads, spec.head_grain)),
        parameters_{
            {Shard(context.used[kGain]), true},
            {Shard(context.used[kBias]), true},
            {Shard(context.used[kQkv], {0, width_}, columns(3)), false, Pushed::by_node},
            {Shard(context.used[kQkvBias], {0, 1}, columns(3)), false},
            {Shard(context.used[kProjection], columns(1), {0, width_}), false, Pushed::by_node},
            {Shard(context.used[kProjectionBias]), true}},
        projected_(sum_over_heads(context, 1)),
        dn_(sum_over_heads(context, 3)),
        n_(context.most_rows * width_),
        dy_(spec.output.probability > 0 ? context.most_rows * width_ : 0),
        do_(context.most_rows * columns(1).size()),
        dqkv_(context.most_rows * columns(3).size()),
        scratch_(attention_scratch({.samples = 1,
                                    .positions = spec.sequence,
                                    .heads = heads_.size(),
                                    .head_size = head_size_,
                                    .part = leaf_count(spec.sequence, spec.sequence_leaves),
                                    .parts = spec.sequence_leaves})) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return {width_, {0, width_}, true}; }
  Features output() const override { return input(); }
  std::size_t saved() const override {  // as `Saved` lays it out
    return kSavedMoments + columns(3).size() + columns(1).size() + 2 * heads_.size();
  }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output, std::span<float> saved) override {
    const std::size_t rows = batch.rows();
    const Saved<float> s(*this, saved, rows);
    const auto n_values = std::span<float>(n_).first(input.size());
    const MatrixView qkv(parameters[kQkv], width_, columns(3).size());                // columns
    const MatrixView projection(parameters[kProjection], columns(1).size(), width_);  // rows

    layer_norm(input, parameters[kGain], parameters[kBias], {s.mean, s.inverse_deviation},
               n_values);
    const MatrixView n(n_values, rows, width_);                                     // replicated
    canonical_product(n, qkv, spec_.channel_grain, s.qkv, {parameters[kQkvBias]});  // sharded
    const AttentionShape shape = shape_of(batch);
    attention(shape, dropout_of(spec_.weights, batch), s.qkv, s.o, s.largest, s.sums,  // sharded
              scratch_);
    const MatrixView o(s.o, rows, columns(1).size());
    projected_->product(o, projection, output, {parameters[kProjectionBias]});  // -> replicated
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
    const MatrixView qkv(parameters[kQkv], width_, columns(3).size());                // columns
    const MatrixView projection(parameters[kProjection], columns(1).size(), width_);  // rows
    const MatrixView o(s.o, rows, columns(1).size());                                 // sharded

    const MatrixView dy(dropout_backward(spec_.output, batch, output_gradient, dy_), rows,
                        width_);  // replicated
    const auto do_values = std::span<float>(do_).first(s.o.size());
    canonical_product(dy, projection.transposed(), spec_.channel_grain, do_values);  // sharded
    const auto dqkv_values = std::span<float>(dqkv_).first(s.qkv.size());
    const AttentionShape shape = shape_of(batch);
    attention_backward(shape, dropout_of(spec_.weights, batch), s.qkv, s.o, s.largest, s.sums,
                       do_values, dqkv_values, scratch_);  // sharded
    const MatrixView dqkv(dqkv_values, rows, columns(3).size());
    dn_->begin(dqkv, qkv.transposed(), input_gradient);  // partial

    const auto n_values = std::span<float>(n_).first(input.size());
    layer_norm_again(input, parameters[kGain], parameters[kBias], moments, n_values);
    const MatrixView n(n_values, rows, width_);                  // replicated
    push_weight_gradient(batch, n, dqkv, gradients[kQkv]);       // like qkv
    push_bias_gradient(batch, dqkv, gradients[kQkvBias]);        // sharded
    push_weight_gradient(batch, o, dy, gradients[kProjection]);  // like projection
    push_bias_gradient(batch, dy, gradients[kProjectionBias]);   // replicated
    dn_->finish();                                               // replicated
    backward_through_layer_norm(batch, input, parameters[kGain], moments, input_gradient,
                                gradients[kGain], gradients[kBias]);  // replicated
    add(output_gradient, input_gradient, input_gradient);
  }

 private:
  /// What forward saves of each row.
  template <typename Float>
  struct Saved {
    Saved(const SelfAttention& block, std::span<Float> saved, std::size_t rows) {
      SavedRows<Float> matrices(saved, rows);
      mean = matrices.next(1);
      inverse_deviation = matrices.next(1);
      qkv = matrices.next(block.columns(3).size());
      o = matrices.next(block.columns(1).size());
      largest = matrices.next(block.heads_.size());
      sums = matrices.next(block.heads_.size());
    }
    std::span<Float> mean, inverse_deviation, qkv, o, largest, sums;
  };

  /// The columns of this rank's heads, where each head has `per_head` times its size.
  Range columns(std::size_t per_head) const {
    const std::size_t size = per_head * head_size_;
    return {heads_.begin * size, heads_.end * size};
  }

  std::unique_ptr<FeatureSum> sum_over_heads(const BlockContext& context,
                                             std::size_t per_head) const {
    const std::size_t size = per_head * head_size_;
    return context.group.sum_over(spec_.heads * size, spec_.head_grain * size,
                                  context.most_rows * width_);
  }

  AttentionShape shape_of(const MicroBatch& batch) const {
    return {.samples = batch.samples(),
            .positions = batch.leaves.positions,
            .heads = heads_.size(),
            .head_size = head_size_,
            .part = batch.leaves.part(),
            .parts = batch.leaves.parts,
            .first_head = heads_.begin,
            .sequence = batch.leaves.whole_sequence(),
            .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_size_)))};
  }

  SelfAttentionSpec spec_;
  std::size_t width_;
  std::size_t head_size_;
  Range heads_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureSum> projected_;  // o projection
  std::unique_ptr<FeatureSum> dn_;         // dqkv qkv^T
  AlignedFloats n_;                        // (rows, width)
  AlignedFloats dy_;                       // (rows, width), with dropout
  AlignedFloats do_;                       // (rows, columns here)
  AlignedFloats dqkv_;                     // (rows, 3 columns here)
  AlignedFloats scratch_;
};

}  // namespace

std::unique_ptr<Block> make_block(const SelfAttentionSpec& spec, const BlockContext& context) {
  return std::make_unique<SelfAttention>(spec, context);
}

}  // namespace meshparity
