#include "oracle/judged.h"

#include <algorithm>
#include <cmath>

#include "oracle/softmax_bound.h"

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;
using Rows = Judged::Rows;

/// What one more operation on each element adds.
Matrix own_roundings(const Matrix& values, const Matrix& bounds, const Arithmetic& arithmetic) {
  return values.binaryExpr(
      bounds, [&](double value, double bound) { return own_rounding(value, bound, arithmetic); });
}

/// Values, and for row b the errors that `errors_of(b)` gives.
template <typename ErrorsOf>
Rows rows_of(const Matrix& values, const ErrorsOf& errors_of) {
  Rows result{exactly(values), {}};
  for (Index b = 0; b < result.value.rows(); ++b) {
    result.errors.push_back(errors_of(b));
    result.bound.row(b) = result.errors.back().bound();
  }
  return result;
}

/// Throws std::out_of_range if only bounds were kept.
const RowErrors& errors_of(const Rows& rows, Index b) {
  return rows.errors.at(static_cast<std::size_t>(b));
}

/// `errors` of numbers whose results are `values`: value / divisor is computed as
/// value * fl(1 / divisor). The inverse is off by a factor of at most 1 + u; then the product is
/// rounded.
void scale_down(RowErrors& errors, const Row& values, double divisor, Unknown first,
                const Arithmetic& arithmetic) {
  errors.scale(1 / divisor);
  const Row inverse = own_roundings(values, errors.bound(), arithmetic);
  errors.add(inverse + own_roundings(values, errors.bound() + inverse, arithmetic).row(0), first);
}

}  // namespace

Unknown Judged::new_unknowns(Index width) { return std::exchange(unknowns_, unknowns_ + width); }

Rows Judged::exact(const Matrix& values) {
  return rows_of(values, [&](Index) { return RowErrors(values.cols()); });
}

Rows Judged::gather(const Matrix& table) const {
  Matrix vectors(static_cast<Index>(batch_.tokens.size()), table.cols());
  for (Index place = 0; place < vectors.rows(); ++place) {
    vectors.row(place) = table.row(batch_.tokens[static_cast<std::size_t>(place)]);
  }
  return exact(vectors.reshaped<Eigen::RowMajor>(rows(), vectors.size() / rows()));
}

Rows Judged::affine(const Rows& x, const Matrix& weight, const Matrix& bias, std::size_t grain) {
  const Matrix own = own_bound(x, exactly(weight), {.grain = grain, .fused = true}, rules_);
  const Unknown first = new_unknowns(weight.cols());
  const Matrix values = (x.value * weight).rowwise() + bias.row(0);
  return rows_of(values, [&](Index b) {
    RowErrors errors = errors_of(x, b).times(weight, first);
    errors.grow(own.row(b));
    errors.grow(own_roundings(values.row(b), errors.bound(), rules_.arithmetic));
    return errors;
  });
}

Rows Judged::times_transposed(const Rows& x, const Matrix& weight, std::size_t grain,
                              equations::Then then) {
  const Rounded across = exactly(weight.transpose());
  const Sum sum{.grain = grain, .fused = true};
  const Unknown first = new_unknowns(weight.rows());
  Matrix own = own_bound(x, across, sum, rules_);
  // Nobody will ask which unknowns these errors share: their bounds will do.
  if (then == equations::Then::summed) own += inherited_bound(x, across);
  return rows_of(x.value * across.value, [&](Index b) {
    RowErrors errors(own.cols());
    if (then == equations::Then::propagated) {
      errors = errors_of(x, b).times(across.value, first);
      errors.grow(own.row(b));
    } else {
      errors.add(own.row(b), first);
    }
    return errors;
  });
}

Rows Judged::combined(const Matrix& a, const Rows& x, const Matrix& b, const Rows& y,
                      const Matrix& values, double second_order) {
  const Unknown first = new_unknowns(values.cols());
  return rows_of(values, [&](Index i) {
    RowErrors errors =
        RowErrors::combined(a.row(i), errors_of(x, i), b.row(i), errors_of(y, i), first);
    errors.grow(second_order * x.bound.row(i).cwiseProduct(y.bound.row(i)));
    errors.grow(own_roundings(values.row(i), errors.bound(), rules_.arithmetic));
    return errors;
  });
}

Rows Judged::add(const Rows& x, const Rows& y) {
  const Matrix ones = Matrix::Ones(x.value.rows(), x.value.cols());
  return combined(ones, x, ones, y, x.value + y.value, 0);
}

Rows Judged::subtract(const Rows& x, const Rows& y) {
  const Matrix ones = Matrix::Ones(x.value.rows(), x.value.cols());
  return combined(ones, x, -ones, y, x.value - y.value, 0);
}

/// (a + e_a) (b + e_b) - a b = a e_b + b e_a + e_a e_b: a form, and something of second order.
Rows Judged::product(const Rows& x, const Rows& y) {
  return combined(y.value, x, x.value, y, x.value.cwiseProduct(y.value), 1);
}

Rows Judged::relu(Rows x) {
  const Unknown first = new_unknowns(x.value.cols());
  for (Index b = 0; b < x.value.rows(); ++b) {
    RowErrors& errors = x.errors[static_cast<std::size_t>(b)];
    errors.relu(x.value.row(b), first);
    x.bound.row(b) = errors.bound();
  }
  x.value = x.value.cwiseMax(0.0);
  return x;
}

Rows Judged::relu_gradient(const Rows& dy, const Rows& y) {
  const Unknown first = new_unknowns(dy.value.cols());
  const auto passes = (y.value.array() > 0).cast<double>();
  return rows_of(dy.value.array() * passes, [&](Index b) {
    RowErrors errors = errors_of(dy, b);
    errors.relu_gradient(dy.value.row(b), y.value.row(b), y.bound.row(b), first);
    return errors;
  });
}

Rounded Judged::outer(const Rows& x, const Rows& dy) const {
  const Rounded across{x.value.transpose(), x.bound.transpose()};
  return {across.value * dy.value, product_bound(across, dy, over_batch(true), rules_)};
}

Rounded Judged::sum(const Rows& dy) const {
  const Rounded ones = exactly(Matrix::Ones(1, rows()));
  return {dy.value.colwise().sum(), product_bound(ones, dy, over_batch(false), rules_)};
}

/// A sum over all places whose first factor says whether the token stands there.
Rounded Judged::scatter(const Rows& dy, const Matrix& table) const {
  const auto places = static_cast<Index>(batch_.tokens.size());
  const Rounded pieces{dy.value.reshaped<Eigen::RowMajor>(places, table.cols()),
                       dy.bound.reshaped<Eigen::RowMajor>(places, table.cols())};
  Rounded owners = exactly(Matrix::Zero(table.rows(), places));
  for (Index place = 0; place < places; ++place) {
    owners.value(batch_.tokens[static_cast<std::size_t>(place)], place) = 1;
  }
  Sum sum = over_batch(false);
  sum.grain *= static_cast<std::size_t>(places / rows());
  return {owners.value * pieces.value, product_bound(owners, pieces, sum, rules_)};
}

Rounded Judged::add(const Rounded& x, const Rounded& y) const {
  const Matrix values = x.value + y.value;
  const Matrix inherited = x.bound + y.bound;
  return {values, inherited + own_roundings(values, inherited, rules_.arithmetic)};
}

/// Shifted by the row's maximum, which changes neither probabilities nor losses.
std::pair<Rounded, Rows> Judged::cross_entropy(const Rows& logits, std::size_t grain) {
  const Matrix shifted = logits.value.colwise() - logits.value.rowwise().maxCoeff();
  const Matrix powers = shifted.array().exp();
  const Eigen::VectorXd totals = powers.rowwise().sum();
  const Matrix probabilities = powers.array().colwise() / totals.array();
  const auto targets = rows() - static_cast<Index>(std::ranges::count(batch_.targets, kNoTarget));
  const auto divisor = static_cast<double>(std::max<Index>(targets, 1));

  // d loss_b / d logit_bj = p_bj - [j is the target], and the loss is the mean over b.
  Matrix gradient = probabilities;
  Rounded losses = exactly(Matrix::Zero(rows(), 1));
  for (Index b = 0; b < rows(); ++b) {
    const Token target = batch_.targets[static_cast<std::size_t>(b)];
    if (target == kNoTarget) {
      gradient.row(b).setZero();
      continue;
    }
    losses.value(b, 0) = std::log(totals(b)) - shifted(b, target);
    gradient(b, target) -= 1;
  }
  gradient /= divisor;

  const Unknown first = new_unknowns(kSoftmaxUnknowns * gradient.cols());
  const Unknown scaled = new_unknowns(gradient.cols());
  Rows gradients = rows_of(gradient, [&](Index b) {
    const Token target = batch_.targets[static_cast<std::size_t>(b)];
    if (target == kNoTarget) return RowErrors(gradient.cols());
    RowErrors errors = errors_of(logits, b);
    losses.bound(b, 0) =
        softmax_bound({logits.value.row(b), probabilities.row(b), target, losses.value(b, 0)},
                      grain, rules_, errors, first);
    scale_down(errors, gradient.row(b), divisor, scaled, rules_.arithmetic);
    return errors;
  });
  const Rounded total = sum({losses, {}});
  RowErrors mean(1);
  mean.add(total.bound, 0);
  scale_down(mean, total.value / divisor, divisor, 1, rules_.arithmetic);
  Rounded loss{total.value / divisor, mean.bound()};
  return {std::move(loss), std::move(gradients)};
}

Rounded sgd(const Matrix& values, const Matrix& gradient, double lr, const Arithmetic& arithmetic) {
  const Matrix updated = values - lr * gradient;
  // The second term is this oracle's product, before the difference.
  return {updated,
          own_roundings(updated, Matrix::Zero(updated.rows(), updated.cols()), arithmetic) +
              2 * kOracleUnit * std::abs(lr) * gradient.cwiseAbs()};
}

}  // namespace meshparity::rounding
