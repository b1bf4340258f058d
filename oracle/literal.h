#pragma once

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "model/batch.h"
#include "oracle/equations.h"

/// The arithmetic of the numerics contract, as literally as it can be: float32, one rounding at a
/// time, and every sum by the transcription in canonical_reference.h.
namespace meshparity {

/// The elementary functions to use: the model's own, or (for a bound) any within a stated error.
struct ElementaryFunctions {
  std::function<float(float)> exp;
  std::function<float(float)> log;
  std::function<float(float)> gelu{};
  std::function<float(float)> gelu_derivative{};
};

/// A row-major float32 matrix.
struct Floats {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> values;

  Floats() = default;
  Floats(std::size_t row_total, std::size_t column_total)
      : rows(row_total), columns(column_total), values(row_total * column_total) {}
  float& operator()(std::size_t row, std::size_t column) { return values[row * columns + column]; }
  float operator()(std::size_t row, std::size_t column) const {
    return values[row * columns + column];
  }
};

/// An arithmetic for oracle/equations.h, which says what its operations mean.
class Literal {
 public:
  using Parameter = Floats;
  using Rows = Floats;
  using Gradient = Floats;

  /// Both must outlive it.
  Literal(const MicroBatch& batch, const ElementaryFunctions& functions)
      : batch_(batch), functions_(functions), leaves_(equations::leaves_of(batch)) {}

  static std::size_t columns(const Floats& parameter) { return parameter.columns; }

  Floats gather(const Floats& table, equations::Read read) const;
  Floats affine(const Floats& x, const Floats& weight, const Floats& bias, std::size_t grain) const;
  Floats times(const Floats& x, const Floats& weight, std::size_t grain) const;
  Floats times_transposed(const Floats& x, const Floats& weight, std::size_t grain,
                          equations::Then then) const;
  Floats add(const Floats& x, const Floats& y) const;
  Floats relu(const Floats& x) const;
  Floats relu_gradient(const Floats& dy, const Floats& y) const;
  Floats outer(const Floats& x, const Floats& dy) const;
  Floats sum(const Floats& dy) const;
  Floats scatter(const Floats& dy, const Floats& table, equations::Read read) const;
  static void keep_bounds(const Floats& /*rows*/) {}
  std::pair<Floats, Floats> cross_entropy(const Floats& logits, std::size_t grain) const;

  std::pair<Floats, Floats> normalize(const Floats& x) const;
  Floats normalize_gradient(const Floats& dn, const Floats& n, const Floats& inverse) const;
  Floats scale(const Floats& x, const Floats& gain) const;
  Floats scale_shift(const Floats& x, const Floats& gain, const Floats& bias) const;
  Floats column_products(const Floats& dy, const Floats& n) const;
  Floats gelu(const Floats& x) const;
  Floats gelu_gradient(const Floats& dh, const Floats& x) const;
  Floats dropout(const Floats& x, const DropoutSpec& spec) const;
  Floats attention(const Floats& qkv, const SelfAttentionSpec& spec) const;
  Floats attention_gradient(const Floats& qkv, const Floats& output, const Floats& d_output,
                            const SelfAttentionSpec& spec) const;

 private:
  /// The tree over what `leaf` makes of each leaf's rows.
  template <typename Leaf>
  float over_rows(const Leaf& leaf) const;

  const MicroBatch& batch_;
  const ElementaryFunctions& functions_;
  std::vector<Range> leaves_;
};

}  // namespace meshparity
