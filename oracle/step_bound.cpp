#include "oracle/step_bound.h"

#include <utility>

#include "oracle/row_errors.h"
#include "oracle/softmax_bound.h"

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;

Rounded exactly(Matrix value) {
  Rounded result;
  result.bound = Matrix::Zero(value.rows(), value.cols());
  result.value = std::move(value);
  return result;
}

/// What one more operation on each element adds.
Row own_roundings(const Row& values, const Row& bounds, const Arithmetic& arithmetic) {
  return values.binaryExpr(
      bounds, [&](double value, double bound) { return own_rounding(value, bound, arithmetic); });
}

/// `errors` of numbers whose results are `values`: value / divisor is computed as
/// value * fl(1 / divisor). The inverse is off by a factor of at most 1 + u; then the product is
/// rounded.
void scale_down(RowErrors& errors, const Row& values, double divisor,
                const Arithmetic& arithmetic) {
  errors.scale(1 / divisor);
  const Row inverse = own_roundings(values, errors.bound(), arithmetic);
  errors.add(inverse + own_roundings(values, errors.bound() + inverse, arithmetic));
}

/// The errors of each sample's row stay linear forms from layer to layer; sums over samples only
/// need their bounds.
class Propagation {
 public:
  Propagation(const Recipe& recipe, const equations::Network& network, const Batch& batch,
              const Rules& rules)
      : recipe_(recipe),
        network_(network),
        batch_(batch),
        rules_(rules),
        samples_(static_cast<Index>(batch.targets.size())),
        layers_(network.weights.size()),
        values_(equations::forward(network, batch)),
        slopes_(equations::backward(network, batch, values_)),
        ones_(exactly(Matrix::Ones(1, samples_))) {}

  StepBound run() {
    forward();
    head();
    backward();
    return std::move(step_);
  }

 private:
  RowErrors& errors(Index sample) { return errors_[static_cast<std::size_t>(sample)]; }

  void forward() {
    errors_.assign(batch_.targets.size(), RowErrors(values_.inputs[0].cols()));
    inputs_.push_back(exactly(values_.inputs[0]));
    for (std::size_t i = 0; i < layers_; ++i) {
      const Matrix& weight = network_.weights[i];
      const Matrix own = own_bound(inputs_[i], exactly(weight),
                                   {.grain = recipe_.feature_grain, .fused = true}, rules_);
      Rounded sums{values_.sums[i], own};
      Rounded outputs{i + 1 < layers_ ? values_.inputs[i + 1] : Matrix(), own};
      for (Index b = 0; b < samples_; ++b) {
        errors(b).multiply(weight);
        const Row before_bias = errors(b).bound() + own.row(b);
        const Row bias = own_roundings(sums.value.row(b), before_bias, rules_.arithmetic);
        errors(b).add(own.row(b) + bias);
        sums.bound.row(b) = errors(b).bound();
        if (i + 1 == layers_) continue;
        errors(b).relu(sums.value.row(b));
        outputs.bound.row(b) = errors(b).bound();
      }
      sums_.push_back(std::move(sums));
      if (i + 1 < layers_) inputs_.push_back(std::move(outputs));
    }
  }

  /// From the errors of the logits to those of their gradients, and the loss.
  void head() {
    const auto divisor = static_cast<double>(samples_);
    const Matrix& gradients = slopes_.sum_gradients.back();
    Rounded losses{values_.losses, Matrix::Zero(samples_, 1)};
    for (Index b = 0; b < samples_; ++b) {
      const SoftmaxRow row{values_.sums.back().row(b), values_.probabilities.row(b),
                           batch_.targets[static_cast<std::size_t>(b)], values_.losses(b, 0)};
      losses.bound(b, 0) = softmax_bound(row, recipe_.vocab_grain, rules_, errors(b));
      scale_down(errors(b), gradients.row(b), divisor, rules_.arithmetic);
    }
    RowErrors total(1);
    total.add(product_bound(ones_, losses, {.grain = recipe_.batch_grain, .fused = false}, rules_));
    scale_down(total, Row::Constant(1, values_.loss), divisor, rules_.arithmetic);
    step_.loss = {Matrix::Constant(1, 1, values_.loss), total.bound()};
  }

  Rounded with_bounds(const Matrix& values) {
    Rounded result{values, values};
    for (Index b = 0; b < samples_; ++b) result.bound.row(b) = errors(b).bound();
    return result;
  }

  void backward() {
    step_.weights.resize(layers_);
    step_.biases.resize(layers_);
    for (std::size_t i = layers_; i-- > 0;) {
      const Rounded gradient = with_bounds(slopes_.sum_gradients[i]);
      const Rounded across{inputs_[i].value.transpose(), inputs_[i].bound.transpose()};
      step_.weights[i] = {
          slopes_.gradients.weights[i],
          product_bound(across, gradient, {.grain = recipe_.batch_grain, .fused = true}, rules_)};
      step_.biases[i] = {
          slopes_.gradients.biases[i],
          product_bound(ones_, gradient, {.grain = recipe_.batch_grain, .fused = false}, rules_)};
      const Sum sum{.grain = i + 1 == layers_ ? recipe_.vocab_grain : recipe_.feature_grain,
                    .fused = true};
      const Rounded weight = exactly(network_.weights[i].transpose());
      if (i == 0) {
        set_embedding({slopes_.input_gradients[0], product_bound(gradient, weight, sum, rules_)});
        return;
      }
      const Matrix own = own_bound(gradient, weight, sum, rules_);
      for (Index b = 0; b < samples_; ++b) {
        errors(b).multiply(weight.value);
        errors(b).add(own.row(b));
        errors(b).relu_gradient(slopes_.input_gradients[i].row(b), sums_[i - 1].value.row(b),
                                sums_[i - 1].bound.row(b));
      }
    }
  }

  /// Every place adds its piece to its token's row; a leaf holds the places of batch_grain samples.
  void set_embedding(const Rounded& gradient) {
    const auto places = static_cast<Index>(batch_.tokens.size());
    const Index width = network_.embedding.cols();
    const Rounded pieces{gradient.value.reshaped<Eigen::RowMajor>(places, width),
                         gradient.bound.reshaped<Eigen::RowMajor>(places, width)};
    const std::size_t context = batch_.tokens.size() / batch_.targets.size();
    const Rounded owners = exactly(equations::one_hot_tokens(network_, batch_).transpose());
    step_.embedding = {
        slopes_.gradients.embedding,
        product_bound(owners, pieces, {.grain = recipe_.batch_grain * context, .fused = false},
                      rules_)};
  }

  const Recipe& recipe_;
  const equations::Network& network_;
  const Batch& batch_;
  const Rules& rules_;
  const Index samples_;
  const std::size_t layers_;
  const equations::Forward values_;
  const equations::Backward slopes_;
  const Rounded ones_;
  std::vector<Rounded> inputs_;    // of each linear layer
  std::vector<Rounded> sums_;      // its outputs, before the ReLU
  std::vector<RowErrors> errors_;  // of each sample's row, at the place that was reached
  StepBound step_;
};

}  // namespace

StepBound step_bound(const Recipe& recipe, const equations::Network& network, const Batch& batch,
                     const Rules& rules) {
  return Propagation(recipe, network, batch, rules).run();
}

Matrix sgd_bound(const Matrix& updated, const Rounded& gradient, double lr, const Rules& rules) {
  const Matrix inherited = std::abs(lr) * gradient.bound;
  // The last term is this oracle's product, before the difference.
  return inherited + updated.binaryExpr(inherited, [&](double value, double bound) {
    return own_rounding(value, bound, rules.arithmetic);
  }) + 2 * kOracleUnit * std::abs(lr) * gradient.value.cwiseAbs();
}

}  // namespace meshparity::rounding
