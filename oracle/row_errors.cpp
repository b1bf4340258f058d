#include "oracle/row_errors.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace meshparity::rounding {

void RowErrors::add(const Row& sizes) {
  const Index before = generators_.rows();
  generators_.conservativeResize(before + (sizes.array() != 0).count(), Eigen::NoChange);
  Index row = before;
  for (Index j = 0; j < sizes.size(); ++j) {
    if (sizes(j) == 0) continue;
    generators_.row(row).setZero();
    generators_(row++, j) = sizes(j);
  }
}

void RowErrors::multiply(const Matrix& weight) {
  const Row before = bound();
  std::vector<Index> alive;
  for (Index j = 0; j < before.size(); ++j) {
    if (before(j) != 0) alive.push_back(j);
  }
  const Matrix rows = weight(alive, Eigen::all);
  const Matrix sizes = rows.cwiseAbs();
  // This product's own roundings, in whatever order: gamma_n |G| |W|.
  const double own = kOracleUnit * static_cast<double>(before.size() + 2);
  slack_ = (slack_(alive) + own * before(alive)) * sizes;
  generators_ = (generators_(Eigen::all, alive) * rows).eval();
}

void RowErrors::scale(double factor) {
  generators_ *= factor;
  slack_ *= factor;
}

void RowErrors::clear(Index j) {
  generators_.col(j).setZero();
  slack_(j) = 0;
}

void RowErrors::relu(const Row& values) {
  const Row doubt = bound();
  Row added = Row::Zero(values.size());
  for (Index j = 0; j < values.size(); ++j) {
    // In doubt, max(z', 0) differs from what the form says of z > 0 (z' itself) or of z <= 0
    // (nothing) by at most how far z' can be on the other side.
    if (std::abs(values(j)) <= doubt(j)) added(j) = doubt(j) - std::abs(values(j));
    if (values(j) <= 0) clear(j);
  }
  drop_zeros();
  add(added);
}

void RowErrors::relu_gradient(const Row& gradient, const Row& input, const Row& doubt) {
  const Row errors = bound();
  Row added = Row::Zero(gradient.size());
  for (Index j = 0; j < gradient.size(); ++j) {
    const bool unsure = std::abs(input(j)) <= doubt(j);
    const double size = std::abs(gradient(j));
    // The rounded result is 0 or the rounded gradient, and the oracle's is the gradient or 0.
    if (unsure) added(j) = input(j) > 0 ? std::max(errors(j), size) : size + errors(j);
    if (unsure || input(j) <= 0) clear(j);
  }
  drop_zeros();
  add(added);
}

void RowErrors::replace(Matrix generators) {
  generators_ = std::move(generators);
  slack_.setZero();
}

void RowErrors::settle() {
  add(slack_);
  slack_.setZero();
}

void RowErrors::drop_zeros() {
  Index kept = 0;
  for (Index row = 0; row < generators_.rows(); ++row) {
    if (generators_.row(row).isZero(0)) continue;
    if (kept != row) generators_.row(kept) = generators_.row(row);
    ++kept;
  }
  generators_.conservativeResize(kept, Eigen::NoChange);
}

}  // namespace meshparity::rounding
