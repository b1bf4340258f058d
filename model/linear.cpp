#include "model/linear.h"

#include "model/block.h"

namespace meshparity {
namespace {

enum Uses : std::size_t { kWeight, kBias };

/// A dimension of a weight: cut among the ranks of a group, or whole on each of them.
Features features_of(std::size_t width, std::size_t grain, bool cut, const FeatureGroup& group) {
  return {width, cut ? group.share(width, grain) : Range{0, width}, !cut};
}

/// Sums over a dimension: of a cut one every rank has a part.
std::unique_ptr<FeatureSum> sum_over(const Features& features, std::size_t grain,
                                     std::size_t most_elements, FeatureGroup& group) {
  if (features.copied) return AloneGroup().sum_over(features.width, grain, most_elements);
  return group.sum_over(features.width, grain, most_elements);
}

/// Placements are those of a weight cut by columns | by rows. A whole one has everything
/// replicated, and exchanges nothing.
class Linear final : public Block {
 public:
  Linear(const LinearSpec& spec, const BlockContext& context)
      : relu_(spec.relu),
        inputs_(features_of(context.used[kWeight].rows, spec.input_grain, spec.split == Split::rows,
                            context.group)),
        outputs_(features_of(context.used[kWeight].columns, spec.output_grain,
                             spec.split == Split::columns, context.group)),
        parameters_{{Shard(context.used[kWeight], inputs_.here, outputs_.here),
                     spec.split == Split::whole, Pushed::by_node},
                    {Shard(context.used[kBias], {0, 1}, outputs_.here), outputs_.copied}},
        over_inputs_(
            sum_over(inputs_, spec.input_grain, context.most_rows * outputs_.width, context.group)),
        over_outputs_(sum_over(outputs_, spec.output_grain, context.most_rows * inputs_.width,
                               context.group)) {}

  const std::vector<HeldParameter>& parameters() const override { return parameters_; }
  Features input() const override { return inputs_; }
  Features output() const override { return outputs_; }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output, std::span<float> /*saved*/) override {
    const MatrixView x(input, batch.rows(), inputs_.here.size());  // replicated | sharded
    const MatrixView weight(parameters[kWeight], inputs_.here.size(), outputs_.here.size());
    // y = [relu](sum over inputs of x w, + b)
    over_inputs_->product(x, weight, output,
                          {parameters[kBias], relu_});  // sharded | partial -> replicated
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> output, std::span<const float> /*saved*/,
                std::span<float> output_gradient, std::span<float> input_gradient,
                std::span<PartialSum> gradients) override {
    const MatrixView x(input, batch.rows(), inputs_.here.size());
    const MatrixView weight(parameters[kWeight], inputs_.here.size(), outputs_.here.size());
    if (relu_) relu_backward(output, output_gradient);
    const MatrixView dy(output_gradient, batch.rows(), outputs_.here.size());  // sharded | replic.
    // dX = sum over outputs of dY W^T. It travels while the weight's gradient is formed, which
    // comes last: whoever sends that next finds it in the cache.
    over_outputs_->begin(dy, weight.transposed(), input_gradient);  // partial | sharded
    push_weight_gradient(batch, x, dy, gradients[kWeight]);         // like the weight
    push_bias_gradient(batch, dy, gradients[kBias]);                // sharded | replicated
    over_outputs_->finish();                                        // replicated | sharded
  }

 private:
  bool relu_;
  Features inputs_;
  Features outputs_;
  std::vector<HeldParameter> parameters_;
  std::unique_ptr<FeatureSum> over_inputs_;
  std::unique_ptr<FeatureSum> over_outputs_;
};

}  // namespace

std::unique_ptr<Block> make_block(const LinearSpec& spec, const BlockContext& context) {
  return std::make_unique<Linear>(spec, context);
}

void push_weight_gradient(const MicroBatch& batch, const MatrixView& x, const MatrixView& dy,
                          PartialSum& gradient) {
  const std::size_t leaves = batch.leaf_total();
  for (std::size_t leaf = 0; leaf < leaves;) {
    // Leaves that have the same number of rows are added up a node at a time: inside a node, the
    // order of leaves is the product's.
    const std::size_t count = batch.leaves.even() ? gradient.next_node(leaves - leaf).size() : 1;
    const Range rows{batch.leaves.rows_of(leaf, batch.samples()).begin,
                     batch.leaves.rows_of(leaf + count - 1, batch.samples()).end};
    if (rows.empty()) {
      gradient.next_zeroed();
    } else {
      canonical_product(x.row_range(rows).transposed(), dy.row_range(rows), batch.leaves.grain(),
                        gradient.next());
    }
    gradient.push(count);
    leaf += count;
  }
}

void push_bias_gradient(const MicroBatch& batch, const MatrixView& dy, PartialSum& gradient) {
  for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
    const MatrixView rows = dy.row_range(batch.leaves.rows_of(leaf, batch.samples()));
    add_rows({rows.data, rows.rows * rows.columns}, rows.rows, gradient.next_zeroed());
    gradient.push();
  }
}

}  // namespace meshparity
