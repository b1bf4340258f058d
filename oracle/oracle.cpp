#include "oracle/oracle.h"

#include <stdexcept>

#include "oracle/equations.h"
#include "oracle/step_bound.h"

namespace meshparity {
namespace {

using equations::Matrix;
using rounding::Rounded;
using rounding::Rules;

/// The bounds are themselves computed in binary64, by sums and products of positive numbers only:
/// their relative error is below (operations in a row) * 2^-53, far less than this pays for.
constexpr double kBoundSlack = 1 + 0x1p-20;

Bounded bounded(const Rounded& rounded) {
  const Matrix bound = kBoundSlack * rounded.bound;
  return {{rounded.value.data(), rounded.value.data() + rounded.value.size()},
          {bound.data(), bound.data() + bound.size()}};
}

/// The product of a row and a column of exact numbers.
Bounded bounded_product(const Matrix& row, const Matrix& column, const rounding::Sum& sum,
                        SumOrder order) {
  if (sum.grain == 0) throw std::invalid_argument("a sum's grain is at least 1");
  const Rounded a{row, Matrix::Zero(row.rows(), row.cols())};
  const Rounded b{column, Matrix::Zero(column.rows(), column.cols())};
  return bounded({row * column, rounding::product_bound(a, b, sum, {binary32(), order})});
}

Matrix column_of(std::span<const float> values) {
  return Eigen::Map<const Eigen::VectorXf>(values.data(), static_cast<Eigen::Index>(values.size()))
      .cast<double>();
}

ParameterStep parameter_step(std::string name, bool is_vector, const Matrix& parameter,
                             const Rounded& gradient, double lr, const Rules& rules) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.rows = static_cast<std::size_t>(parameter.rows());
  spec.columns = static_cast<std::size_t>(parameter.cols());
  spec.is_vector = is_vector;
  const Matrix updated = parameter - lr * gradient.value;
  return {spec, bounded(gradient),
          bounded({updated, rounding::sgd_bound(updated, gradient, lr, rules)})};
}

}  // namespace

Arithmetic binary32() {
  return {.unit = 0x1p-24 + 0x1p-52,
          .underflow = 0x1p-150,
          // An ULP is at most 2^-23 of the value.
          .function_error = kFunctionUlp * 0x1p-23 + 0x1p-51};
}

Arithmetic binary64() {
  return {.unit = 0x1p-52, .underflow = 0x1p-1074, .function_error = 0x1p-50};
}

Bounded bounded_sum(std::span<const float> terms, std::size_t grain, SumOrder order) {
  const Matrix column = column_of(terms);
  return bounded_product(Matrix::Ones(1, column.rows()), column, {.grain = grain, .fused = false},
                         order);
}

Bounded bounded_dot(std::span<const float> a, std::span<const float> b, std::size_t grain,
                    SumOrder order) {
  if (a.size() != b.size()) throw std::invalid_argument("the factors differ in number");
  return bounded_product(column_of(a).transpose(), column_of(b), {.grain = grain, .fused = true},
                         order);
}

Tensor widened(const ParameterSpec& spec, std::span<const float> values) {
  return {spec.rows, spec.columns, {values.begin(), values.end()}};
}

OracleStep oracle_step(const Recipe& recipe, const Tensors& parameters, const Batch& batch,
                       SumOrder order, const Arithmetic& arithmetic) {
  if (recipe.batch_grain == 0 || recipe.feature_grain == 0 || recipe.vocab_grain == 0) {
    throw std::invalid_argument("a sum's grain is at least 1");
  }
  const equations::Network network = equations::network_of(parameters, batch);
  const Rules rules{arithmetic, order};
  const rounding::StepBound step = rounding::step_bound(recipe, network, batch, rules);
  const auto lr = static_cast<double>(recipe.lr);

  OracleStep result;
  result.loss = bounded(step.loss);
  result.parameters.push_back(
      parameter_step("embedding.weight", false, network.embedding, step.embedding, lr, rules));
  for (std::size_t i = 0; i < network.weights.size(); ++i) {
    const std::string layer =
        i + 1 == network.weights.size() ? "output" : "hidden." + std::to_string(i);
    result.parameters.push_back(
        parameter_step(layer + ".weight", false, network.weights[i], step.weights[i], lr, rules));
    result.parameters.push_back(
        parameter_step(layer + ".bias", true, network.biases[i], step.biases[i], lr, rules));
  }
  return result;
}

OracleForward oracle_forward(const Tensors& parameters, const Batch& batch) {
  const equations::Network network = equations::network_of(parameters, batch);
  const equations::Forward values = equations::forward(network, batch);
  OracleForward result;
  result.loss = values.loss;
  const Matrix& logits = values.sums.back();
  result.logits.assign(logits.data(), logits.data() + logits.size());
  for (std::size_t i = 0; i + 1 < values.sums.size(); ++i) {
    for (const double sum : values.sums[i].reshaped<Eigen::RowMajor>()) {
      result.active.push_back(sum > 0);
    }
  }
  return result;
}

}  // namespace meshparity
