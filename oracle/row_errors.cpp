#include "oracle/row_errors.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

namespace meshparity::rounding {

RowErrors RowErrors::times(const Matrix& weight, Unknown first) const {
  RowErrors result(weight.cols());
  result.newest_ = first;
  std::vector<Index> alive;
  std::vector<Index> mixed;  // of these, the ones with an unknown of their own
  for (Index j = 0; j < bound_.size(); ++j) {
    if (bound_(j) != 0) alive.push_back(j);
    if (own_(j) != 0) mixed.push_back(j);
  }
  if (alive.empty()) return result;

  const Index settled = generators_.rows();
  const Matrix rows = weight(alive, Eigen::all);
  result.names_ = names_;
  result.generators_.resize(settled + static_cast<Index>(mixed.size()), Eigen::NoChange);
  result.generators_.topRows(settled).noalias() = generators_(Eigen::all, alive).eval() * rows;
  for (std::size_t k = 0; k < mixed.size(); ++k) {
    result.names_.push_back(newest_ + mixed[k]);
    result.generators_.row(settled + static_cast<Index>(k)) = own_(mixed[k]) * weight.row(mixed[k]);
  }
  result.bound_ = result.generators_.cwiseAbs().colwise().sum();
  // This product's own roundings, in whatever order: gamma_n |G| |W|.
  const double own = kOracleUnit * static_cast<double>(bound_.size() + 2);
  result.grow(own * (bound_(alive) * rows.cwiseAbs()));
  return result;
}

RowErrors RowErrors::combined(const Row& a, const RowErrors& x, const Row& b, const RowErrors& y,
                              Unknown first) {
  RowErrors result(a.size());
  std::unordered_map<Unknown, Index> row_of;
  const auto row_for = [&](Unknown name) {
    const auto [found, is_new] = row_of.emplace(name, static_cast<Index>(row_of.size()));
    if (is_new) result.names_.push_back(name);
    return found->second;
  };
  // A row for each unknown of either, the settled ones and the newest.
  std::array<std::vector<Index>, 2> rows;
  const std::array<const RowErrors*, 2> both = {&x, &y};
  for (std::size_t i = 0; i < both.size(); ++i) {
    for (const Unknown name : both[i]->names_) rows[i].push_back(row_for(name));
    for (Index j = 0; j < a.size(); ++j) {
      if (both[i]->own_(j) != 0) rows[i].push_back(row_for(both[i]->newest_ + j));
    }
  }
  Matrix& generators = result.generators_;
  generators = Matrix::Zero(static_cast<Index>(row_of.size()), a.size());
  for (std::size_t i = 0; i < both.size(); ++i) {
    const Row& factors = i == 0 ? a : b;
    auto row = rows[i].begin();
    for (Index k = 0; k < both[i]->generators_.rows(); ++k) {
      generators.row(*row++) += both[i]->generators_.row(k).cwiseProduct(factors);
    }
    for (Index j = 0; j < a.size(); ++j) {
      if (both[i]->own_(j) != 0) generators(*row++, j) += both[i]->own_(j) * factors(j);
    }
  }
  // Two products and a sum for each unknown: 3 roundings of what is at most |a| |x| + |b| |y|.
  result.newest_ = first;
  result.bound_ = result.generators_.cwiseAbs().colwise().sum();
  result.grow(3 * kOracleUnit *
              (a.cwiseAbs().cwiseProduct(x.bound_) + b.cwiseAbs().cwiseProduct(y.bound_)));
  return result;
}

void RowErrors::add(const Row& sizes, Unknown first) {
  settle();
  newest_ = first;
  grow(sizes);
}

void RowErrors::grow(const Row& sizes) {
  own_ += sizes;
  bound_ += sizes;
}

void RowErrors::scale(double factor) {
  generators_ *= factor;
  own_ *= factor;
  bound_ *= factor;
}

RowErrors::Row RowErrors::scale(const Row& factors) {
  if (factors.minCoeff() < 0) settle();  // sizes have no signs, generators do
  generators_.array().rowwise() *= factors.array();
  own_.array() *= factors.array();
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
  const Row roundings = own * (bound_.array() + mean + n.array().abs() * turned);
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
  const Index before = generators_.rows();
  generators_.conservativeResize(before + (own_.array() != 0).count(), Eigen::NoChange);
  Index row = before;
  for (Index j = 0; j < own_.size(); ++j) {
    if (own_(j) == 0) continue;
    generators_.row(row).setZero();
    generators_(row++, j) = own_(j);
    names_.push_back(newest_ + j);
  }
  own_.setZero();
}

void RowErrors::clear(Index j) {
  generators_.col(j).setZero();
  own_(j) = 0;
  bound_(j) = 0;
}

}  // namespace meshparity::rounding
