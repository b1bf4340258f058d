// Layer norm, GELU and dropout: values, and what roundings may do to them.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "oracle/judged.h"
#include "oracle/judged_rows.h"

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;
using Rows = Judged::Rows;

constexpr double kEpsilon = 1e-5F;  // of layer norm, the float that the contract names

/// No second or third derivative of GELU is larger: the second is sqrt(2 / pi) at 0, the third
/// 0.777 at 0.788.
constexpr double kGeluCurvature = 0.8;

/// How far a function may be from GELU's derivative beside its relative error: where that crosses
/// 0, its terms are known to binary64 only.
constexpr double kSlopeError = 0x1p-48;

/// GELU and its derivative.
struct Gelu {
  double value = 0;
  double slope = 0;
  double own = 0;  ///< what this oracle's roundings may do to either
};

Gelu gelu_of(double x) {
  const double root = std::sqrt(2 / std::numbers::pi);
  const double u = root * (x + 0.044715 * x * x * x);
  const double s = 1 / (1 + std::exp(-2 * u));
  const double rest = 1 / (1 + std::exp(2 * u));  // 1 - s
  const double inner = 2 * root * (1 + 3 * 0.044715 * x * x);
  const double bent = s == 0 || rest == 0 ? 0 : x * s * rest * inner;
  // An exponential is as much off as its exponent: |2 u| times a few roundings of u. Its factor is
  // s or 1 - s, whichever is smaller.
  const double off = kOracleUnit * (8 + 16 * std::abs(u) * std::min(1.0, 4 * rest));
  return {x * s, s + bent, off * (std::abs(x * s) + std::abs(bent) + s) + 0x1p-1000};
}

/// The same of every element.
struct Gelus {
  explicit Gelus(const Matrix& x) : values(x), slopes(x), own(x) {
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j < x.cols(); ++j) {
        const Gelu gelu = gelu_of(x(i, j));
        values(i, j) = gelu.value;
        slopes(i, j) = gelu.slope;
        own(i, j) = gelu.own;
      }
    }
  }

  Matrix values, slopes, own;
};

/// Everything about the rounded normalisation of one row whose errors do not come in as a form.
/// With d = x - mean, s = mean(d^2) + epsilon, r = s^(-1/2) and n = d r: if the computation's d is
/// d + delta, then exactly
///
///     s' = s (1 + t),  t = (2 mean(d delta) + mean(delta^2)) / s,
///     n' = (d + delta) r (1 - t / 2 + R),  |R| <= 3/8 t^2 / (1 - |t|)^(5/2),
///
/// so that n' - n is the form r (delta - n mean(n delta)), and something of second order.
class NormalizedRow {
 public:
  NormalizedRow(const Row& x, const Row& doubt, const Rules& rules)
      : u_(rules.arithmetic.unit), tiny_(rules.arithmetic.underflow) {
    const auto channels = static_cast<std::size_t>(x.size());
    c_ = 1 / static_cast<double>(channels);
    const Sum sum{.grain = channels, .fused = false};
    const double mean = x.mean();
    const Row d = x.array() - mean;
    s_ = d.squaredNorm() * c_ + kEpsilon;
    inverse = 1 / std::sqrt(s_);
    n = d * inverse;

    // delta: what came in, centered; the mean's roundings (3: the factor 1 / C and two products);
    // the difference's.
    const double mean_doubt = doubt.sum() * c_;
    const double of_sum = c_ * lane_sum_bound(x, doubt, sum, rules);
    const double of_mean = of_sum + 3 * u_ * (std::abs(mean) + mean_doubt + of_sum) + tiny_;
    const Row own =
        (of_mean + u_ * (d.array().abs() + doubt.array() + mean_doubt + of_mean) + tiny_).matrix();
    const Row delta = doubt.array() + mean_doubt + own.array();
    const Row squares = d.cwiseAbs2();
    const Row square_doubts = 2 * d.cwiseAbs().cwiseProduct(delta) + delta.cwiseAbs2();
    const double t = square_doubts.sum() * c_ / s_;
    // The sum of squares, the factor 1 / C, and epsilon.
    const double of_squares =
        c_ * lane_sum_bound(squares, square_doubts, {.grain = channels, .fused = true}, rules);
    const double relative = of_squares / (s_ * (1 - t)) + 4 * u_ + tiny_ / s_;
    if (!(t < 0.5 && relative < 0.25)) {
      know_nothing();
      return;
    }
    // Of a root, half; then the root's own rounding and the division's.
    const double root =
        (1 + relative / 2 / ((1 - relative) * (1 - relative))) / ((1 - u_) * (1 - u_)) - 1;
    const double curved = 0.375 * t * t / std::pow(1 - t, 2.5);
    inverse_bound = inverse * ((1 + root) / std::sqrt(1 - t) - 1);
    const Row size = n.cwiseAbs();
    const Row first_order = inverse * (own + size * (size.dot(own) * c_));
    const Row second_order =
        size * (delta.squaredNorm() * c_ / (2 * s_) + curved) + inverse * delta * (t / 2 + curved);
    const Row moved = size + inverse * (delta + size * (size.dot(delta) * c_)) + second_order;
    added = first_order + second_order + moved * ((1 + root) * (1 + u_) - 1);
    added.array() += tiny_;
  }

  Row n;
  double inverse = 0;
  double inverse_bound = 0;
  Row added;           ///< beside the form
  bool linear = true;  ///< otherwise there is no form

 private:
  /// No element of n' is above sqrt(C), apart from roundings (below 1 %: C has fewer than 2^20
  /// terms), and no inverse deviation above epsilon^(-1/2).
  void know_nothing() {
    linear = false;
    added = n.cwiseAbs().array() + 1.01 / std::sqrt(c_);
    inverse_bound = 1.01 / std::sqrt(kEpsilon);
  }

  double u_;
  double tiny_;
  double c_ = 0;
  double s_ = 0;
};

}  // namespace

std::pair<Rows, Rows> Judged::normalize(const Rows& x) {
  const Unknown first = new_unknowns(x.value.cols());
  Rows n{{x.value, x.bound}, {}};
  Rounded inverse = exactly(Matrix::Zero(x.value.rows(), 1));
  for (Index b = 0; b < n.value.rows(); ++b) {
    const NormalizedRow row(x.value.row(b), x.bound.row(b), rules_);
    n.value.row(b) = row.n;
    inverse.value(b, 0) = row.inverse;
    inverse.bound(b, 0) = row.inverse_bound;
    RowErrors errors = row.linear ? errors_of(x, b) : RowErrors(row.n.size());
    const Row own = errors.project(row.inverse, row.n);
    errors.add(own + row.added, first);
    n.bound.row(b) = errors.bound();
    n.errors.push_back(std::move(errors));
  }
  return {std::move(n), Rows{std::move(inverse), {}}};
}

/// With n' = n + nu, b = mean(g n) and g' = g + e: beside what is linear in e,
/// mean(g' n') is off by mean(g nu + e nu), and n' b' by n times that and nu b'.
Rows Judged::normalize_gradient(const Rows& dn, const Rows& n, const Rows& inverse) {
  const Index channels = n.value.cols();
  const double c = 1 / static_cast<double>(channels);
  const auto grain = static_cast<std::size_t>(channels);
  const auto [unit, underflow, function_error] = rules_.arithmetic;
  const double u = unit;
  const double tiny = underflow;
  const Unknown first = new_unknowns(channels);
  Rows dx{{dn.value, dn.bound}, {}};
  for (Index b = 0; b < dx.value.rows(); ++b) {
    const Row g = dn.value.row(b);
    const Row e = dn.bound.row(b);
    const Row size = n.value.row(b).cwiseAbs();
    const Row nu = n.bound.row(b);
    const double r = inverse.value(b, 0);
    const double mean = g.mean();
    const Row products = g.cwiseProduct(n.value.row(b));
    const double along = products.mean();

    const Row of_nu = g.cwiseAbs().cwiseProduct(nu) + e.cwiseProduct(nu);
    const Row product_doubts = of_nu + e.cwiseProduct(size);
    const double mean_sum = c * lane_sum_bound(g, e, {.grain = grain, .fused = false}, rules_);
    const double mean_own = mean_sum + 3 * u * (std::abs(mean) + e.mean() + mean_sum) + tiny;
    const double along_sum =
        c * lane_sum_bound(products, product_doubts, {.grain = grain, .fused = true}, rules_);
    const double along_own =
        along_sum + 3 * u * (std::abs(along) + product_doubts.mean() + along_sum) + tiny;
    const double along_extra = along_own + of_nu.mean();
    const double along_doubt = along_own + product_doubts.mean();

    const Row difference = g.array() - mean;
    const Row difference_own =
        mean_own + u * (difference.cwiseAbs().array() + e.array() + e.mean() + mean_own) + tiny;
    const Row turned_extra = size * along_extra + nu * (std::abs(along) + along_doubt);
    const Row turned_doubt = size * along_doubt + nu * (std::abs(along) + along_doubt);
    const Row turned_own = u * (size * std::abs(along) + turned_doubt).array() + tiny;
    const Row result = difference - n.value.row(b) * along;
    const Row extra = difference_own + turned_extra + turned_own;
    const Row doubt = extra.array() + e.array() + e.mean() + size.array() * e.dot(size) * c;
    const Row all_extra = extra.array() + u * (result.cwiseAbs() + doubt).array() + tiny;
    const Row all_doubt = doubt + (all_extra - extra);
    dx.value.row(b) = result * r;
    RowErrors errors = errors_of(dn, b);
    const Row own = errors.project(r, n.value.row(b));
    const double off = (1 + inverse.bound(b, 0) / r) * (1 + u) - 1;
    errors.add((own + r * all_extra + r * off * (result.cwiseAbs() + all_doubt)).array() + tiny,
               first);
    dx.bound.row(b) = errors.bound();
    dx.errors.push_back(std::move(errors));
  }
  return dx;
}

Rows Judged::scale(const Rows& x, const Matrix& gain) {
  const Unknown first = new_unknowns(x.value.cols());
  const Matrix values = x.value.array().rowwise() * gain.row(0).array();
  return rows_of(values, [&](Index b) {
    RowErrors errors = errors_of(x, b);
    Row added = errors.scale(gain.row(0));
    added += own_roundings(values.row(b), errors.bound(), rules_.arithmetic);
    errors.add(added, first);
    return errors;
  });
}

Rows Judged::scale_shift(const Rows& x, const Matrix& gain, const Matrix& bias) {
  Rows result = scale(x, gain);
  result.value.rowwise() += bias.row(0);
  for (Index b = 0; b < result.value.rows(); ++b) {
    RowErrors& errors = result.errors[static_cast<std::size_t>(b)];
    errors.grow(own_roundings(result.value.row(b), errors.bound(), rules_.arithmetic));
    result.bound.row(b) = errors.bound();
  }
  return result;
}

Rounded Judged::column_products(const Rows& dy, const Rows& n) const {
  Rounded result = exactly(Matrix::Zero(1, n.value.cols()));
  const Sum sum = over_batch(true);
  for (Index j = 0; j < n.value.cols(); ++j) {
    const Rounded left{dy.value.col(j).transpose(), dy.bound.col(j).transpose()};
    const Rounded right{n.value.col(j), n.bound.col(j)};
    result.value.col(j) = left.value * right.value;
    result.bound.col(j) = product_bound(left, right, sum, rules_);
  }
  return result;
}

/// gelu(x + e) - gelu(x) = gelu'(x) e, and at most the curvature times e^2 / 2.
Rows Judged::gelu(const Rows& x) {
  const Unknown first = new_unknowns(x.value.cols());
  const Gelus gelus(x.value);
  const Arithmetic& arithmetic = rules_.arithmetic;
  return rows_of(gelus.values, [&](Index b) {
    RowErrors errors = errors_of(x, b);
    Row added = errors.scale(gelus.slopes.row(b));
    for (Index j = 0; j < added.size(); ++j) {
      const double doubt = x.bound(b, j);
      added(j) += kGeluCurvature / 2 * doubt * doubt + gelus.own(b, j);
      const double all = std::abs(gelus.values(b, j)) + errors.bound()(j) + added(j);
      added(j) += arithmetic.function_error * all + 2 * arithmetic.underflow;
    }
    errors.add(added, first);
    return errors;
  });
}

Rows Judged::gelu_gradient(const Rows& dh, const Rows& x) {
  const Unknown first = new_unknowns(x.value.cols());
  const Arithmetic& arithmetic = rules_.arithmetic;
  const Gelus gelus(x.value);
  const Matrix& slopes = gelus.slopes;
  const Matrix values = dh.value.cwiseProduct(slopes);
  return rows_of(values, [&](Index b) {
    RowErrors errors = errors_of(dh, b);
    Row added = errors.scale(slopes.row(b));
    for (Index j = 0; j < added.size(); ++j) {
      // Where the slope crosses 0 the function is as exact as its terms, which are below 2.
      double off = std::min(kGeluCurvature * x.bound(b, j), 4.0) + gelus.own(b, j);
      off += arithmetic.function_error * (std::abs(slopes(b, j)) + off) + kSlopeError +
             2 * arithmetic.underflow;
      added(j) += off * (std::abs(dh.value(b, j)) + dh.bound(b, j));
      added(j) += own_rounding(values(b, j), errors.bound()(j) + added(j), arithmetic);
    }
    errors.add(added, first);
    return errors;
  });
}

Rows Judged::dropout(const Rows& x, const DropoutSpec& spec) {
  const equations::Dropped dropped(batch_, spec);
  if (!dropped.active()) return x;
  const Unknown first = new_unknowns(x.value.cols());
  Matrix factors(x.value.rows(), x.value.cols());
  for (Index b = 0; b < factors.rows(); ++b) {
    for (Index j = 0; j < factors.cols(); ++j) {
      const bool kept = dropped.keeps(static_cast<std::size_t>(b), static_cast<std::size_t>(j));
      factors(b, j) = kept ? dropped.scale() : 0;
    }
  }
  const Matrix values = x.value.cwiseProduct(factors);
  return rows_of(values, [&](Index b) {
    RowErrors errors = errors_of(x, b);
    Row added = errors.scale(factors.row(b));
    for (Index j = 0; j < added.size(); ++j) {
      if (factors(b, j) == 0) continue;  // selected: no operation at all
      added(j) += own_rounding(values(b, j), errors.bound()(j), rules_.arithmetic);
    }
    errors.add(added, first);
    return errors;
  });
}

}  // namespace meshparity::rounding
