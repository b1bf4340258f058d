// Tensor parallel (Megatron-LM, arXiv:1909.08053): every rank works on all samples, with a part of
// each layer. Layers come in pairs, the first split by columns, the second by rows:
//
//         X            W1 (columns)           W2 (rows)
//     replicated      | 0 | 1 | 2 |            | 0 |
//                     | 0 | 1 | 2 |            | 1 |       Y = relu(X W1 + b1) W2 + b2
//                     | 0 | 1 | 2 |            | 2 |
//
// forward    relu(X W1 + b1)   each rank has the features of its columns      (sharded)
//            times W2          each rank sums over its features alone         (partial)
//            all_reduce        the sum over all features                      (replicated), then +
//            b2
// backward   dY W2^T           each rank has the features of its rows         (sharded)
//            times W1^T        each rank sums over its features alone         (partial)
//            all_reduce        the input gradient                             (replicated)
//
// A rank's features are a run of whole leaves of `feature_grain`, so the partial sums are nodes of
// the sum that one rank would form. Parts may be uneven or empty.

#include "parallel/train_tp.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "model/numerics/kernels.h"
#include "model/linear.h"
#include "model/loss.h"
#include "model/model.h"
#include "parallel/reducer.h"
#include "parallel/sample_shares.h"

namespace meshparity {
namespace {

/// A sum over a feature dimension that the group shares out.
class SharedFeatures {
 public:
  SharedFeatures(std::size_t features, std::size_t grain, std::size_t max_width, Comm& group,
                 Reduction reduction)
      : features_(features),
        grain_(grain),
        all_{0, leaf_count(features, grain)},
        runs_(shares_of(all_, group.size())),
        mine_(runs_[group.rank()]),
        sum_(all_.end, mine_, max_width),
        reducer_(group, reduction, all_.end) {
    reducer_.reserve(runs_, max_width);
  }

  /// This rank's features.
  Range features() const { return terms_of(mine_, grain_, features_); }

  /// Collective. left * right summed over the features of all ranks. `left` has this rank's
  /// features as columns, `right` as rows.
  std::span<const float> product(const MatrixView& left, const MatrixView& right, CallSite site) {
    const std::size_t width = left.rows * right.columns;
    sum_.start(mine_, width);
    for (Range rest = mine_; !rest.empty();) {
      const Range node = first_node_of(rest, all_.end);
      const Range global = terms_of(node, grain_, features_);
      const Range local{global.begin - features().begin, global.end - features().begin};
      canonical_product(left.column_range(local), right.row_range(local), grain_, sum_.next());
      sum_.push(node.size());
      rest.begin = node.end;
    }
    reducer_.all_reduce(sum_, runs_, sum_, site);  // in place
    return sum_.total();
  }

 private:
  std::size_t features_;
  std::size_t grain_;
  Range all_;
  std::vector<Range> runs_;
  Range mine_;
  PartialSum sum_;  // of this rank's features, then of all
  Reducer reducer_;
};

/// A block of a layer's two parameters.
std::vector<Shard> split_shards(const LinearSpec& spec, Range rows, Range columns) {
  const std::vector<ParameterSpec> whole = parameters_of(LayerSpec{spec});
  std::vector<Shard> shards = {Shard(whole[0], rows, columns), Shard(whole[1], {0, 1}, columns)};
  shards[0].tensor_split = true;
  shards[1].tensor_split = spec.split == LinearSplit::columns;
  return shards;
}

/// input replicated (samples, inputs) -> output sharded (samples, this rank's columns).
class ColumnSplitLinear final : public Layer {
 public:
  ColumnSplitLinear(const LinearSpec& spec, std::size_t max_samples, Comm& tp, Reduction reduction)
      : spec_(spec),
        shared_(spec.outputs, spec.output_grain, max_samples * spec.inputs, tp, reduction),
        outputs_(shared_.features().size()),
        parameters_(split_shards(spec, {0, spec.inputs}, shared_.features())) {}

  const std::vector<Shard>& parameters() const override { return parameters_; }
  std::size_t input_width() const override { return spec_.inputs; }
  std::size_t output_width() const override { return outputs_; }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output) override {
    const MatrixView x(input, batch.samples, spec_.inputs);          // replicated
    const MatrixView weight(parameters[0], spec_.inputs, outputs_);  // sharded by columns
    canonical_product(x, weight, spec_.input_grain, output,
                      {parameters[1], spec_.relu});  // sharded
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> output, std::span<float> output_gradient,
                std::span<float> input_gradient, std::span<PartialSum> gradients) override {
    const MatrixView x(input, batch.samples, spec_.inputs);
    const MatrixView weight(parameters[0], spec_.inputs, outputs_);
    if (spec_.relu) relu_backward(output, output_gradient);
    const MatrixView dy(output_gradient, batch.samples, outputs_);  // sharded
    push_linear_gradients(batch, x, dy, gradients);                 // sharded, like the parameters
    const auto dx = shared_.product(dy, weight.transposed(),
                                    CallSite::here());  // partial -> replicated
    std::copy(dx.begin(), dx.end(), input_gradient.begin());
  }

 private:
  LinearSpec spec_;
  SharedFeatures shared_;  // the outputs
  std::size_t outputs_;    // of this rank
  std::vector<Shard> parameters_;
};

/// input sharded (samples, this rank's rows) -> output replicated (samples, outputs).
class RowSplitLinear final : public Layer {
 public:
  RowSplitLinear(const LinearSpec& spec, std::size_t max_samples, Comm& tp, Reduction reduction)
      : spec_(spec),
        shared_(spec.inputs, spec.input_grain, max_samples * spec.outputs, tp, reduction),
        inputs_(shared_.features().size()),
        parameters_(split_shards(spec, shared_.features(), {0, spec.outputs})) {}

  const std::vector<Shard>& parameters() const override { return parameters_; }
  std::size_t input_width() const override { return inputs_; }
  std::size_t output_width() const override { return spec_.outputs; }

  void forward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
               std::span<float> output) override {
    const MatrixView x(input, batch.samples, inputs_);               // sharded
    const MatrixView weight(parameters[0], inputs_, spec_.outputs);  // sharded by rows
    const auto y = shared_.product(x, weight, CallSite::here());     // partial -> replicated
    std::copy(y.begin(), y.end(), output.begin());
    // Once, after the whole sum.
    apply_epilogue({parameters[1], spec_.relu}, batch.samples, output);
  }

  void backward(const MicroBatch& batch, ParameterValues parameters, std::span<const float> input,
                std::span<const float> output, std::span<float> output_gradient,
                std::span<float> input_gradient, std::span<PartialSum> gradients) override {
    const MatrixView x(input, batch.samples, inputs_);
    const MatrixView weight(parameters[0], inputs_, spec_.outputs);
    if (spec_.relu) relu_backward(output, output_gradient);
    const MatrixView dy(output_gradient, batch.samples, spec_.outputs);  // replicated
    push_linear_gradients(batch, x, dy, gradients);  // weight sharded, bias replicated
    canonical_product(dy, weight.transposed(), spec_.output_grain, input_gradient);  // sharded
  }

 private:
  LinearSpec spec_;
  SharedFeatures shared_;  // the inputs
  std::size_t inputs_;     // of this rank
  std::vector<Shard> parameters_;
};

}  // namespace

Layers make_tensor_parallel_layers(std::span<const LayerSpec> specs, std::size_t max_samples,
                                   Comm& tp, Reduction reduction) {
  Layers layers;
  for (const LayerSpec& spec : specs) {
    const auto* linear = std::get_if<LinearSpec>(&spec);
    if (linear != nullptr && linear->split == LinearSplit::columns) {
      layers.push_back(std::make_unique<ColumnSplitLinear>(*linear, max_samples, tp, reduction));
    } else if (linear != nullptr && linear->split == LinearSplit::rows) {
      layers.push_back(std::make_unique<RowSplitLinear>(*linear, max_samples, tp, reduction));
    } else {
      layers.push_back(make_layer(spec));  // replicated
    }
  }
  return layers;
}

void train_tp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  const std::size_t vocabulary = run.corpus.vocabulary();
  validate(how, recipe, vocabulary);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& tp = *groups.tp;

  const Range all_leaves = batch_leaves(recipe);
  const std::vector<Range> microbatches = shares_of(all_leaves, how.microbatches);
  const std::size_t max_samples = most_samples(recipe, microbatches);

  const Layers layers =
      make_tensor_parallel_layers(model_layers(recipe, vocabulary), max_samples, tp, how.reduction);
  Parameters parameters(layers);
  parameters.fill(run.initial);
  GradientSums gradients = make_gradient_sums(layers, all_leaves.end, {&all_leaves, 1});
  PartialSum loss_sum(all_leaves.end, all_leaves, 1);
  Activations activations(layers, max_samples);
  BatchBuffer batch_buffer(recipe, run.corpus, max_samples);
  std::vector<ShardView> shards = parameters.views();
  for (ShardView& view : shards) view.counted = view.shard->tensor_split || tp.rank() == 0;
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    start(gradients, all_leaves);
    loss_sum.start(all_leaves);

    for (const Range microbatch : microbatches) {
      const Range mine = samples_of(recipe, microbatch);
      const std::size_t samples = mine.size();
      const MicroBatch batch = batch_buffer.draw(Corpus::Split::training, step, mine);

      // What the ranks exchange, they exchange inside the layers.
      for (std::size_t l = 0; l < layers.size(); ++l) {
        layers[l]->forward(batch, parameters.layer(l), activations.value(l, samples),
                           activations.value(l + 1, samples));
      }
      softmax_cross_entropy(batch, activations.value(layers.size(), samples), recipe.vocab_grain,
                            inverse_batch, activations.gradient(layers.size(), samples), loss_sum);

      for (std::size_t l = layers.size(); l-- > 0;) {
        layers[l]->backward(batch, parameters.layer(l), activations.value(l, samples),
                            activations.value(l + 1, samples), activations.gradient(l + 1, samples),
                            activations.gradient(l, samples), gradients[l]);
      }
    }
    const float loss = loss_sum.total()[0] * inverse_batch;

    // Nothing to reduce: every rank saw every sample.
    attach_gradients(shards, gradients);
    report_step(run.observer, step, loss, shards, world);

    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        sgd_update(gradients[l][p].total(), recipe.lr, parameters.values(l, p));
      }
    }
  }
  for (ShardView& shard : shards) shard.gradient = {};
  run.observer.finished(shards);
}

}  // namespace meshparity
