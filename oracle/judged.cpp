#include "oracle/judged.h"

#include <algorithm>
#include <cmath>

#include "oracle/judged_rows.h"
#include "oracle/softmax_bound.h"

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;
using Rows = Judged::Rows;

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

Rows Judged::only_bounded(const Rounded& rounded) {
  const Unknown first = new_unknowns(rounded.value.cols());
  return rows_of(rounded.value, [&](Index b) {
    RowErrors errors(rounded.value.cols());
    errors.add(rounded.bound.row(b), first);
    return errors;
  });
}

Rows Judged::gather(const Matrix& table, equations::Read read) const {
  const std::vector<std::size_t> places = equations::places_of(batch_, read);
  Matrix vectors(static_cast<Index>(places.size()), table.cols());
  for (Index i = 0; i < vectors.rows(); ++i) {
    vectors.row(i) = table.row(static_cast<Index>(places[static_cast<std::size_t>(i)]));
  }
  return exact(vectors.reshaped<Eigen::RowMajor>(rows(), vectors.size() / rows()));
}

RowErrors Judged::mixed(const RowErrors& errors, const Matrix& weight, Unknown first) const {
  if (rows() * errors.unknowns() * weight.cols() <= most_elements_) {
    return errors.times(weight, first);
  }
  RowErrors result(weight.cols());
  result.add(errors.bound() * weight.cwiseAbs(), first);
  return result;
}

Rows Judged::affine(const Rows& x, const Matrix& weight, const Matrix& bias, std::size_t grain) {
  const Matrix own = own_bound(x, exactly(weight), {.grain = grain, .fused = true}, rules_);
  const Unknown first = new_unknowns(weight.cols());
  const Matrix values = (x.value * weight).rowwise() + bias.row(0);
  return rows_of(values, [&](Index b) {
    RowErrors errors = mixed(errors_of(x, b), weight, first);
    errors.grow(own.row(b));
    errors.grow(own_roundings(values.row(b), errors.bound(), rules_.arithmetic));
    return errors;
  });
}

Rows Judged::times(const Rows& x, const Matrix& weight, std::size_t grain) {
  return times_transposed(x, weight.transpose(), grain, equations::Then::propagated);
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
      errors = mixed(errors_of(x, b), across.value, first);
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
Rounded Judged::scatter(const Rows& dy, const Matrix& table, equations::Read read) const {
  const std::vector<std::size_t> rows_read = equations::places_of(batch_, read);
  const auto places = static_cast<Index>(rows_read.size());
  const Rounded pieces{dy.value.reshaped<Eigen::RowMajor>(places, table.cols()),
                       dy.bound.reshaped<Eigen::RowMajor>(places, table.cols())};
  Rounded owners = exactly(Matrix::Zero(table.rows(), places));
  for (Index place = 0; place < places; ++place) {
    owners.value(static_cast<Index>(rows_read[static_cast<std::size_t>(place)]), place) = 1;
  }
  Sum sum = over_batch(false);
  const auto of_row = static_cast<std::size_t>(places / rows());
  for (Range& leaf : sum.leaves) leaf = {leaf.begin * of_row, leaf.end * of_row};
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
  const auto divisor = static_cast<double>(equations::divisor_of(batch_));

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

}  // namespace meshparity::rounding
