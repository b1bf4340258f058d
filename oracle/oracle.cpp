#include "oracle/oracle.h"

#include <stdexcept>
#include <utility>

#include "oracle/equations.h"
#include "oracle/judged.h"

namespace meshparity {
namespace {

using rounding::Index;
using rounding::Judged;
using rounding::Matrix;
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
  return bounded(
      {row * column, rounding::product_bound(rounding::exactly(row), rounding::exactly(column), sum,
                                             {binary32(), order})});
}

Matrix column_of(std::span<const float> values) {
  return Eigen::Map<const Eigen::VectorXf>(values.data(), static_cast<Eigen::Index>(values.size()))
      .cast<double>();
}

/// Numbers that the judged computation has, (rows, columns).
Judged::Rows rows_of(std::span<const float> values, Index rows, Index columns) {
  if (static_cast<Index>(values.size()) != rows * columns) {
    throw std::invalid_argument("a boundary is not (rows, width)");
  }
  return Judged::exact(column_of(values).reshaped<Eigen::RowMajor>(rows, columns));
}

/// The parameters in the order of the model.
std::vector<Matrix> matrices_of(const Model& model, const Tensors& parameters) {
  std::vector<Matrix> matrices;
  for (const ParameterSpec& spec : model.parameters) {
    const auto found = parameters.find(spec.name);
    if (found == parameters.end()) throw std::invalid_argument("no parameter " + spec.name);
    const Tensor& tensor = found->second;
    if (tensor.rows != spec.rows || tensor.columns != spec.columns ||
        tensor.values.size() != spec.size()) {
      throw std::invalid_argument(spec.name + " does not have rows x columns values");
    }
    matrices.emplace_back(Eigen::Map<const Matrix>(
        tensor.values.data(), static_cast<Index>(spec.rows), static_cast<Index>(spec.columns)));
  }
  if (parameters.size() != matrices.size()) {
    throw std::invalid_argument("there are parameters of unknown names");
  }
  return matrices;
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

OracleStep oracle_step(const Model& model, const Tensors& parameters, const MicroBatch& batch,
                       SumOrder order, const Arithmetic& arithmetic) {
  equations::require_fit(model, batch);
  const Rules rules{arithmetic, order};
  Judged judged(batch, rules);
  const auto step = equations::step(judged, model, matrices_of(model, parameters));
  OracleStep result{bounded(step.loss), {}};
  for (const Rounded& gradient : step.parameters) result.gradients.push_back(bounded(gradient));
  return result;
}

OracleLocal oracle_local(const Model& model, const Tensors& parameters, const MicroBatch& batch,
                         const std::vector<std::vector<float>>& values,
                         const std::vector<std::vector<float>>& gradients, SumOrder order) {
  equations::require_fit(model, batch);
  if (values.size() != model.blocks.size() + 1 || gradients.size() != values.size()) {
    throw std::invalid_argument("the boundaries were not recorded");
  }
  const Rules rules{binary32(), order};
  Judged judged(batch, rules, Judged::kOneBlock);
  const std::vector<Matrix> matrices = matrices_of(model, parameters);

  OracleLocal result;
  std::vector<std::vector<Rounded>> of_blocks;
  Judged::Rows x;
  for (std::size_t b = 0; b < model.blocks.size(); ++b) {
    equations::Block<Judged> block(judged, model.blocks[b], matrices);
    std::vector<Judged::Rows> saved;
    const Judged::Rows y = block.forward(x, saved);
    const Judged::Rows dy = rows_of(gradients[b + 1], y.value.rows(), y.value.cols());
    auto [dx, of_block] = block.backward(x, y, saved, dy, equations::Then::summed);
    result.blocks.push_back({bounded(y), bounded(dx)});
    of_blocks.push_back(std::move(of_block));
    x = rows_of(values[b + 1], y.value.rows(), y.value.cols());
  }
  const auto [loss, logit_gradient] = judged.cross_entropy(x, model.head.vocab_grain);
  result.loss = bounded(loss);
  result.logit_gradient = bounded(logit_gradient);
  for (const Rounded& sum : equations::sum_over_uses(judged, model, std::move(of_blocks))) {
    result.gradients.push_back(bounded(sum));
  }
  return result;
}

OracleForward oracle_forward(const Model& model, const Tensors& parameters,
                             const MicroBatch& batch) {
  equations::require_fit(model, batch);
  const Rules rules{binary64(), SumOrder::any};
  Judged judged(batch, rules);
  const auto pass = equations::forward(judged, model, matrices_of(model, parameters));
  const Matrix& logits = pass.values.back().value;
  OracleForward result;
  result.loss = judged.cross_entropy(pass.values.back(), model.head.vocab_grain).first.value(0, 0);
  result.logits.assign(logits.data(), logits.data() + logits.size());
  for (std::size_t b = 0; b < model.blocks.size(); ++b) {
    // What a ReLU gives is saved, or is what the block gives. No other kind of block has one.
    const BlockSpec& block = model.blocks[b];
    const auto* const linear = std::get_if<LinearSpec>(&block.kind);
    const bool is_inside = std::holds_alternative<FeedForwardSpec>(block.kind);
    if (!is_inside && (linear == nullptr || !linear->relu)) continue;
    const Judged::Rows& after_relu = is_inside ? pass.saved[b][0] : pass.values[b + 1];
    for (const double x : after_relu.value.reshaped<Eigen::RowMajor>()) {
      result.active.push_back(x > 0);
    }
  }
  return result;
}

}  // namespace meshparity
