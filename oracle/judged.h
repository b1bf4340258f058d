#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "model/batch.h"
#include "oracle/equations.h"
#include "oracle/row_errors.h"
#include "oracle/sum_bound.h"

/// The arithmetic of the oracle: float64 values, and with each a bound on how far the judged
/// computation's may be from it. An operation computes both. (Inside oracle/ only: Eigen.)
namespace meshparity::rounding {

class Judged {
 public:
  using Parameter = Matrix;
  using Gradient = Rounded;  // sums over the batch only need bounds

  /// (rows of the batch, width): values, bounds, and the errors of each row.
  struct Rows : Rounded {
    std::vector<RowErrors> errors;
  };

  /// Both must outlive it.
  Judged(const MicroBatch& batch, const Rules& rules) : batch_(batch), rules_(rules) {}

  /// What the judged computation holds exactly.
  static Rows exact(const Matrix& values);

  /// The rows of the batch's tokens: table (V, E) -> (B, C E).
  Rows gather(const Matrix& table) const;
  /// x weight + bias, the bias after the whole sum.
  Rows affine(const Rows& x, const Matrix& weight, const Matrix& bias, std::size_t grain);
  /// x weight^T.
  Rows times_transposed(const Rows& x, const Matrix& weight, std::size_t grain,
                        equations::Then then);
  Rows add(const Rows& x, const Rows& y);
  Rows subtract(const Rows& x, const Rows& y);
  /// Element by element.
  Rows product(const Rows& x, const Rows& y);
  Rows relu(Rows x);
  /// dy where y = relu(x) is above 0.
  Rows relu_gradient(const Rows& dy, const Rows& y);

  /// From now on, sums over the batch and ReLU's gradient will ask for these rows' values and
  /// bounds, and nobody for their errors: gives back the memory of those.
  static void keep_bounds(Rows& rows) { rows.errors = {}; }

  /// x^T dy.
  Rounded outer(const Rows& x, const Rows& dy) const;
  /// The sum of all rows.
  Rounded sum(const Rows& dy) const;
  /// Every place of a token adds its piece of dy to the token's row: -> the shape of `table`.
  Rounded scatter(const Rows& dy, const Matrix& table) const;
  Rounded add(const Rounded& x, const Rounded& y) const;

  /// Softmax cross-entropy: the mean loss (1, 1), and its gradient with respect to the logits.
  std::pair<Rounded, Rows> cross_entropy(const Rows& logits, std::size_t grain);

 private:
  /// Names for a new unknown of each of `width` elements, the same ones for every row: no form
  /// ever sees those of two rows.
  Unknown new_unknowns(Index width);
  /// a * x + b * y (a and b of their shape): `values`, and one rounding.
  Rows combined(const Matrix& a, const Rows& x, const Matrix& b, const Rows& y,
                const Matrix& values, double second_order);
  Index rows() const { return static_cast<Index>(batch_.targets.size()); }
  Sum over_batch(bool fused) const { return {.grain = batch_.leaves.samples, .fused = fused}; }

  const MicroBatch& batch_;
  const Rules& rules_;
  Unknown unknowns_ = 0;
};

/// What the judged computation makes of its own `values` and `gradient`: values - lr * gradient,
/// with one rounding (fma).
Rounded sgd(const Matrix& values, const Matrix& gradient, double lr, const Arithmetic& arithmetic);

}  // namespace meshparity::rounding
