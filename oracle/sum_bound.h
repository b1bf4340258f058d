#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstddef>
#include <vector>

#include "model/numerics/range.h"
#include "oracle/oracle.h"

/// Bounds on the rounding errors of sums. (Inside oracle/ only: Eigen.)
///
/// Every bound is on |rounded computation - oracle|, element by element. With u the unit roundoff,
/// an operation gives fl(x) = x (1 + d), |d| <= u (Higham, Accuracy and Stability of Numerical
/// Algorithms, 2nd ed., sections 2.2 and 3.1), or is off by at most half the smallest subnormal.
namespace meshparity::rounding {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

/// Unit roundoff of the oracle's own arithmetic.
inline constexpr double kOracleUnit = 0x1p-53;

/// Values and bounds of one shape.
struct Rounded {
  Matrix value;
  Matrix bound;
};

inline Rounded exactly(Matrix value) {
  Matrix none = Matrix::Zero(value.rows(), value.cols());
  return {std::move(value), std::move(none)};
}

/// One sum: how many terms a leaf has and how its terms are added.
struct Sum {
  std::size_t grain = 1;
  bool fused = true;  ///< terms are products by fma; otherwise terms that are added as they are
  std::vector<Range> leaves{};  ///< the terms of each, if they are not `grain` a leaf
};

/// What all bounds of a step have in common.
struct Rules {
  Arithmetic arithmetic;
  SumOrder order;
};

/// What one operation adds, if its exact result is `value`, known within `bound`.
inline double own_rounding(double value, double bound, const Arithmetic& arithmetic) {
  return arithmetic.unit * (std::abs(value) + bound) + arithmetic.underflow;
}

/// gamma_d = d u / (1 - d u): no product of d factors (1 + delta) is further from 1.
double gamma(std::size_t depth, const Arithmetic& arithmetic);

/// Most additions that any term goes through.
std::size_t sum_depth(std::size_t terms, std::size_t grain, SumOrder order);

/// What roundings add to a sum of terms along a row, known within `doubts`: in each leaf, 16 lanes
/// whose sums are combined by a tree (fused: the terms are products by fma, otherwise added as they
/// are). What the doubts themselves add is not in it.
double lane_sum_bound(const Eigen::RowVectorXd& terms, const Eigen::RowVectorXd& doubts,
                      const Sum& sum, const Rules& rules);

/// What errors in the factors make of a * b: |a' b' - a b| <= |a| eb + ea (|b| + eb).
Matrix inherited_bound(const Rounded& a, const Rounded& b);

/// What the roundings of the sums in a * b add to that. Without `fused`, one of the factors holds
/// nothing but exact zeros and ones.
Matrix own_bound(const Rounded& a, const Rounded& b, const Sum& sum, const Rules& rules);
/// The same, given `inherited_bound(a, b)`.
Matrix own_bound(const Rounded& a, const Rounded& b, const Matrix& inherited, const Sum& sum,
                 const Rules& rules);

/// Both together.
Matrix product_bound(const Rounded& a, const Rounded& b, const Sum& sum, const Rules& rules);

}  // namespace meshparity::rounding
