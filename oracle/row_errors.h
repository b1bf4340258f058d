#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "oracle/sum_bound.h"

namespace meshparity::rounding {

/// The name of an unknown. Rows that share a name share the unknown.
using Unknown = std::int64_t;

/// The errors of one row of numbers, as a linear form in unknowns:
///
///     error_j = sum_g x_g G(g, j) + sum_d x_(d + j) D(d, j),   |x| <= 1
///
/// Where a layer is linear its errors are multiplied by its weights, signs and all, and every
/// rounding adds unknowns of its own. Carrying bounds alone would multiply them by |W| in each
/// layer, and |W_1| |W_2| ... |W_n| grows exponentially faster than |W_1 W_2 ... W_n|: after a
/// dozen layers such a bound is 10^9 times too wide. (This is affine arithmetic, de Figueiredo and
/// Stolfi, Numerical Algorithms 37, 2004.) Unknowns keep their names, so that where a row meets
/// itself again, as in x + f(x), its errors add up with their signs.
///
/// New unknowns concern one element each: a diagonal of them is kept as one row of numbers, until
/// a product mixes them. The roundings of this class itself go to the newest diagonal.
class RowErrors {
 public:
  using Row = Eigen::RowVectorXd;

  /// No errors at all.
  explicit RowErrors(Index width) : generators_(0, width), bound_(Row::Zero(width)) {}

  /// The largest |error_j|.
  const Row& bound() const { return bound_; }

  /// The errors of row * weight apart from its roundings. Like all that add unknowns, it names
  /// them `first`, `first + 1`, ... in the order of the elements.
  RowErrors times(const Matrix& weight, Unknown first) const;

  /// The errors of a * x + b * y, element by element.
  static RowErrors combined(const Row& a, const RowErrors& x, const Row& b, const RowErrors& y,
                            Unknown first);

  /// One new unknown for each element, of these sizes.
  void add(const Row& sizes, Unknown first);

  /// The newest unknowns are larger by these sizes. Only while no other row shares them.
  void grow(const Row& sizes);

  void scale(double factor);
  /// Element by element. Returns this class's own roundings, which are for the caller to add.
  Row scale(const Row& factors);

  /// The errors of factor * (e - mean(e) - n * mean(n e)), e being these errors. Returns the same.
  Row project(double factor, const Row& n);

  /// How many unknowns there are.
  Index unknowns() const;

  /// The errors of max(row, 0), given the row.
  void relu(const Row& values, Unknown first);

  /// The errors of the gradient of the input of a ReLU, given the gradient of its output (whose
  /// errors these are) and its output, known within `doubt`.
  void relu_gradient(const Row& gradient, const Row& output, const Row& doubt, Unknown first);

  /// All unknowns join the generators.
  void settle();

  const Matrix& generators() const { return generators_; }
  /// Takes other generators of the same unknowns; there must be no others.
  void replace(Matrix generators);

 private:
  /// Unknown `first` + j concerns element j alone.
  struct Diagonal {
    Unknown first = 0;
    Row numbers;
  };

  /// The errors of factors * x, element by element.
  static RowErrors scaled(const RowErrors& x, const Row& factors, Unknown first);
  /// Appends those of a sum's two sides that are no rows of its generators.
  void add_diagonals(const Row& factors, const RowErrors& side,
                     const std::unordered_map<Unknown, Index>& row_of);
  void find_bound();
  void clear(Index j);

  std::vector<Unknown> names_;       // of the rows of the generators
  Matrix generators_;                // G: (unknowns, width)
  std::vector<Diagonal> diagonals_;  // D; the last one is the newest
  Row bound_;                        // sum of |G| and |D|
};

}  // namespace meshparity::rounding
