#include "oracle/row_errors.h"

#include <algorithm>
#include <utility>

namespace meshparity::rounding {

Index RowErrors::unknowns() const {
  Index count = generators_.rows();
  for (const Diagonal& diagonal : diagonals_) count += (diagonal.numbers.array() != 0).count();
  return count;
}

RowErrors RowErrors::times(const Matrix& weight, Unknown first) const {
  RowErrors result(weight.cols());
  std::vector<Index> alive;
  for (Index j = 0; j < bound_.size(); ++j) {
    if (bound_(j) != 0) alive.push_back(j);
  }
  if (alive.empty()) {
    result.add(Row::Zero(weight.cols()), first);
    return result;
  }
  const bool all_alive = static_cast<Index>(alive.size()) == bound_.size();
  const Index settled = generators_.rows();
  result.names_ = names_;
  result.generators_.resize(unknowns(), Eigen::NoChange);
  if (settled > 0 && all_alive) {
    result.generators_.topRows(settled).noalias() = generators_ * weight;
  } else if (settled > 0) {
    result.generators_.topRows(settled).noalias() =
        generators_(Eigen::all, alive).eval() * weight(alive, Eigen::all).eval();
  }
  Index row = settled;
  for (const Diagonal& diagonal : diagonals_) {
    for (const Index j : alive) {
      if (diagonal.numbers(j) == 0) continue;
      result.names_.push_back(diagonal.first + j);
      result.generators_.row(row++) = diagonal.numbers(j) * weight.row(j);
    }
  }
  result.find_bound();
  // This product's own roundings, in whatever order: gamma_n |G| |W|.
  const double own = kOracleUnit * static_cast<double>(bound_.size() + 2);
  result.add(own * (bound_ * weight.cwiseAbs()), first);
  return result;
}

RowErrors RowErrors::scaled(const RowErrors& x, const Row& factors, Unknown first) {
  RowErrors result = x;
  const Row roundings = result.scale(factors);
  result.add(roundings, first);
  return result;
}

RowErrors RowErrors::combined(const Row& a, const RowErrors& x, const Row& b, const RowErrors& y,
                              Unknown first) {
  if (x.bound_.isZero(0)) return scaled(y, b, first);
  if (y.bound_.isZero(0)) return scaled(x, a, first);
  RowErrors result(a.size());
  // A row for each unknown that is one of either's generators.
  result.names_ = x.names_;
  std::unordered_map<Unknown, Index> row_of;
  row_of.reserve(x.names_.size() + y.names_.size());
  const Index of_x = x.generators_.rows();
  for (Index k = 0; k < of_x; ++k) row_of.emplace(x.names_[static_cast<std::size_t>(k)], k);
  std::vector<Index> rows_of_y;
  for (const Unknown name : y.names_) {
    const auto [found, is_new] = row_of.emplace(name, static_cast<Index>(row_of.size()));
    if (is_new) result.names_.push_back(name);
    rows_of_y.push_back(found->second);
  }
  Matrix& generators = result.generators_;
  generators.resize(static_cast<Index>(row_of.size()), Eigen::NoChange);
  generators.topRows(of_x).array() = x.generators_.array().rowwise() * a.array();
  generators.bottomRows(generators.rows() - of_x).setZero();
  for (Index k = 0; k < y.generators_.rows(); ++k) {
    generators.row(rows_of_y[static_cast<std::size_t>(k)]) += y.generators_.row(k).cwiseProduct(b);
  }
  result.add_diagonals(a, x, row_of);
  result.add_diagonals(b, y, row_of);
  result.find_bound();
  // Two products and a sum for each unknown: 3 roundings of what is at most |a| |x| + |b| |y|.
  result.add(
      3 * kOracleUnit * (a.cwiseAbs().cwiseProduct(x.bound_) + b.cwiseAbs().cwiseProduct(y.bound_)),
      first);
  return result;
}

void RowErrors::add_diagonals(const Row& factors, const RowErrors& side,
                              const std::unordered_map<Unknown, Index>& row_of) {
  for (const Diagonal& diagonal : side.diagonals_) {
    Diagonal rest{diagonal.first, diagonal.numbers.cwiseProduct(factors)};
    for (Index j = 0; j < rest.numbers.size() && !row_of.empty(); ++j) {
      if (rest.numbers(j) == 0) continue;
      const auto found = row_of.find(rest.first + j);
      if (found != row_of.end()) generators_(found->second, j) += std::exchange(rest.numbers(j), 0);
    }
    if (rest.numbers.isZero(0)) continue;
    const auto same = std::ranges::find(diagonals_, rest.first, &Diagonal::first);
    if (same != diagonals_.end()) {
      same->numbers += rest.numbers;
    } else {
      diagonals_.push_back(std::move(rest));
    }
  }
}

void RowErrors::find_bound() {
  bound_ = generators_.cwiseAbs().colwise().sum();
  for (const Diagonal& diagonal : diagonals_) bound_ += diagonal.numbers.cwiseAbs();
}

void RowErrors::add(const Row& sizes, Unknown first) {
  diagonals_.push_back({first, sizes});
  bound_ += sizes;
}

void RowErrors::grow(const Row& sizes) {
  Row& newest = diagonals_.back().numbers;
  newest = (newest.array() < 0).select(newest - sizes, newest + sizes);
  bound_ += sizes;
}

void RowErrors::scale(double factor) {
  generators_ *= factor;
  for (Diagonal& diagonal : diagonals_) diagonal.numbers *= factor;
  bound_ *= std::abs(factor);
}

RowErrors::Row RowErrors::scale(const Row& factors) {
  generators_.array().rowwise() *= factors.array();
  for (Diagonal& diagonal : diagonals_) diagonal.numbers.array() *= factors.array();
  bound_.array() *= factors.array().abs();
  return kOracleUnit * bound_;
}

RowErrors::Row RowErrors::project(double factor, const Row& n) {
  if (bound_.isZero(0)) return bound_;
  settle();
  const double c = 1 / static_cast<double>(n.size());
  const Eigen::VectorXd means = c * generators_.rowwise().sum();
  const Eigen::VectorXd along = c * (generators_ * n.transpose());
  generators_.colwise() -= means;
  generators_ -= along * n;
  generators_ *= factor;
  // At most |e| + mean |e| + |n| mean |n e|, and no part has more roundings than terms and a few.
  const double mean = bound_.sum() * c;
  const double turned = bound_.dot(n.cwiseAbs()) * c;
  const double own = kOracleUnit * static_cast<double>(n.size() + 6) * std::abs(factor);
  Row roundings = own * (bound_.array() + mean + n.array().abs() * turned);
  bound_ = generators_.cwiseAbs().colwise().sum();
  return roundings;
}

void RowErrors::relu(const Row& values, Unknown first) {
  Row added = Row::Zero(values.size());
  for (Index j = 0; j < values.size(); ++j) {
    // In doubt, max(z', 0) differs from what the form says of z > 0 (z' itself) or of z <= 0
    // (nothing) by at most how far z' can be on the other side.
    if (std::abs(values(j)) <= bound_(j)) added(j) = bound_(j) - std::abs(values(j));
    if (values(j) <= 0) clear(j);
  }
  if (!added.isZero(0)) add(added, first);
}

void RowErrors::relu_gradient(const Row& gradient, const Row& output, const Row& doubt,
                              Unknown first) {
  Row added = Row::Zero(gradient.size());
  for (Index j = 0; j < gradient.size(); ++j) {
    // The gradient passes where the output is above 0. An output of 0 that nothing can move is 0
    // in every computation.
    const bool unsure = output(j) <= doubt(j) && doubt(j) > 0;
    const double size = std::abs(gradient(j));
    // The rounded result is 0 or the rounded gradient, and the oracle's is the gradient or 0.
    if (unsure) added(j) = output(j) > 0 ? std::max(bound_(j), size) : size + bound_(j);
    if (unsure || output(j) <= 0) clear(j);
  }
  if (!added.isZero(0)) add(added, first);
}

void RowErrors::replace(Matrix generators) {
  generators_ = std::move(generators);
  bound_ = generators_.cwiseAbs().colwise().sum();
}

void RowErrors::settle() {
  Index row = generators_.rows();
  generators_.conservativeResize(unknowns(), Eigen::NoChange);
  for (const Diagonal& diagonal : diagonals_) {
    for (Index j = 0; j < diagonal.numbers.size(); ++j) {
      if (diagonal.numbers(j) == 0) continue;
      generators_.row(row).setZero();
      generators_(row++, j) = diagonal.numbers(j);
      names_.push_back(diagonal.first + j);
    }
  }
  diagonals_.clear();
}

void RowErrors::clear(Index j) {
  generators_.col(j).setZero();
  for (Diagonal& diagonal : diagonals_) diagonal.numbers(j) = 0;
  bound_(j) = 0;
}

}  // namespace meshparity::rounding
