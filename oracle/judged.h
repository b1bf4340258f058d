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

  /// How many numbers the forms of all rows may take after a product; where they would take more,
  /// bounds alone go on. Through a whole model: 256 MiB. Inside a block there is little to share.
  static constexpr Index kWholeModel = Index{1} << 25;
  static constexpr Index kOneBlock = Index{1} << 18;

  /// Batch and rules must outlive it.
  Judged(const MicroBatch& batch, const Rules& rules, Index most_elements = kWholeModel)
      : batch_(batch),
        rules_(rules),
        most_elements_(most_elements),
        leaves_(equations::leaves_of(batch)) {}

  /// What the judged computation holds exactly.
  static Rows exact(const Matrix& values);

  static std::size_t columns(const Matrix& parameter) {
    return static_cast<std::size_t>(parameter.cols());
  }

  /// The rows of the batch's tokens: table (V, E) -> (B, C E); or of its positions.
  Rows gather(const Matrix& table, equations::Read read) const;
  /// x weight + bias, the bias after the whole sum.
  Rows affine(const Rows& x, const Matrix& weight, const Matrix& bias, std::size_t grain);
  /// x weight.
  Rows times(const Rows& x, const Matrix& weight, std::size_t grain);
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
  /// Every place of a token (or position) adds its piece of dy to that row of the table: -> the
  /// shape of `table`.
  Rounded scatter(const Rows& dy, const Matrix& table, equations::Read read) const;
  Rounded add(const Rounded& x, const Rounded& y) const;

  /// Softmax cross-entropy: the mean loss (1, 1), and its gradient with respect to the logits.
  std::pair<Rounded, Rows> cross_entropy(const Rows& logits, std::size_t grain);

  /// Of each row, n = (x - mean) / deviation and (B, 1) 1 / deviation.
  std::pair<Rows, Rows> normalize(const Rows& x);
  /// (dn - mean(dn) - n mean(dn n)) / deviation.
  Rows normalize_gradient(const Rows& dn, const Rows& n, const Rows& inverse);
  /// x gain, and x gain + bias, element by element.
  Rows scale(const Rows& x, const Matrix& gain);
  Rows scale_shift(const Rows& x, const Matrix& gain, const Matrix& bias);
  /// The sum of dy n over the rows, for each column.
  Rounded column_products(const Rows& dy, const Rows& n) const;
  Rows gelu(const Rows& x);
  /// dh gelu'(x).
  Rows gelu_gradient(const Rows& dh, const Rows& x);
  /// Kept values are multiplied, the others are 0.
  Rows dropout(const Rows& x, const DropoutSpec& spec);
  /// Causal attention: (B, 3 C) -> (B, C). Rows meet here, so errors leave as bounds alone: new
  /// unknowns.
  Rows attention(const Rows& qkv, const SelfAttentionSpec& spec);
  Rows attention_gradient(const Rows& qkv, const Rows& output, const Rows& d_output,
                          const SelfAttentionSpec& spec);

 private:
  /// Names for a new unknown of each of `width` elements, the same ones for every row: no form
  /// ever sees those of two rows.
  Unknown new_unknowns(Index width);
  /// a * x + b * y (a and b of their shape): `values`, and one rounding.
  Rows combined(const Matrix& a, const Rows& x, const Matrix& b, const Rows& y,
                const Matrix& values, double second_order);
  /// The errors of row * weight: as forms, as long as those of all rows fit into memory.
  RowErrors mixed(const RowErrors& errors, const Matrix& weight, Unknown first) const;
  /// Values within bounds of which nothing else is known.
  Rows only_bounded(const Rounded& rounded);
  Index rows() const { return static_cast<Index>(batch_.targets.size()); }
  Sum over_batch(bool fused) const { return {.grain = 1, .fused = fused, .leaves = leaves_}; }

  const MicroBatch& batch_;
  const Rules& rules_;
  Index most_elements_;
  std::vector<Range> leaves_;
  Unknown unknowns_ = 0;
};

}  // namespace meshparity::rounding
