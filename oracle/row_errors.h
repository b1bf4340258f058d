#pragma once

#include "oracle/sum_bound.h"

namespace meshparity::rounding {

/// The errors of one sample's row of numbers, as a linear form in independent unknowns:
///
///     error_j = sum_g x_g G(g, j) + s_j,   |x_g| <= 1,   |s_j| <= slack_j
///
/// Where a layer is linear its errors are multiplied by its weights, signs and all, and every
/// rounding adds unknowns of its own. Carrying bounds alone would multiply them by |W| in each
/// layer, and |W_1| |W_2| ... |W_n| grows exponentially faster than |W_1 W_2 ... W_n|: after a
/// dozen layers such a bound is 10^9 times too wide. (This is affine arithmetic, de Figueiredo and
/// Stolfi, Numerical Algorithms 37, 2004.)
class RowErrors {
 public:
  using Row = Eigen::RowVectorXd;

  /// No errors at all.
  explicit RowErrors(Index width) : generators_(0, width), slack_(Row::Zero(width)) {}

  /// The largest |error_j|.
  Row bound() const { return generators_.cwiseAbs().colwise().sum() + slack_; }

  /// One new unknown for each element, of these sizes.
  void add(const Row& sizes);

  /// The errors of row * weight, apart from its roundings.
  void multiply(const Matrix& weight);

  void scale(double factor);

  /// Forgets what is known of the errors of element j.
  void clear(Index j);

  /// The errors of max(row, 0), given the row.
  void relu(const Row& values);

  /// The errors of the gradient of the input of a ReLU, given the gradient of its output (whose
  /// errors these are) and its input, known within `doubt`.
  void relu_gradient(const Row& gradient, const Row& input, const Row& doubt);

  const Matrix& generators() const { return generators_; }

  /// Takes other generators, with no slack.
  void replace(Matrix generators);

  /// Turns the slack into unknowns.
  void settle();

 private:
  void drop_zeros();

  Matrix generators_;  // (unknowns, width)
  Row slack_;          // mostly this class's own roundings
};

}  // namespace meshparity::rounding
