#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

/// The operations of a training step in float64, each with a bound on how far any correct float32
/// computation of it may be away, whatever form it chose: sums in any order, scales before or after
/// them, one-pass or two-pass variance, softmax in one piece or in tiles.
///
/// What goes in may be known exactly (recorded) or within bounds (computed here before): operations
/// chain. Matrices are (rows, columns), row-major; a row is a position of a sample.
namespace meshparity {

/// A matrix known within a bound.
struct BoundedMatrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<double> value;
  std::vector<double> bound;  ///< empty: exactly

  double bound_of(std::size_t i) const { return bound.empty() ? 0 : bound[i]; }
};
BoundedMatrix exact_matrix(std::size_t rows, std::size_t columns, std::span<const float> values);

/// The premise about functions that nobody rounds correctly: exp, log, tanh, square roots and their
/// inverses are off by at most this many ulp.
inline constexpr double kLibraryUlp = 4;
/// And erf by at most this. PyTorch's vectors take formula 7.1.26 of Abramowitz and Stegun's
/// Handbook of Mathematical Functions, which is off by 1.5e-7, and evaluate it in a dozen
/// operations on numbers up to 1, each within 2^-24.
inline constexpr double kErfError = 0x1p-20;

/// How the judged computation rounds. Sums, and all that is between an operation's input and its
/// output, are float32.
struct FreeArithmetic {
  /// What rounding the factors of a product may change, relatively: 0, or 2^-10 of tf32, which may
  /// cut them off behind 10 bits. To bfloat16 they are rounded to nearest, which is known.
  double factor_unit = 0;
  /// What storing a tensor may change: 0, or 2^-8 of bfloat16.
  double stored_unit = 0;
  bool factors_are_bfloat16 = false;
  /// The most terms that are added one after the other, if that is known.
  std::optional<std::size_t> longest_chain{};

  static FreeArithmetic float32() { return {}; }
  static FreeArithmetic tf32() { return {.factor_unit = 0x1p-10}; }
  static FreeArithmetic bfloat16() {
    return {.factor_unit = 0x1p-8, .stored_unit = 0x1p-8, .factors_are_bfloat16 = true};
  }
};

enum class GeluForm { tanh, erf };

/// Causal attention's sizes.
struct AttentionHeads {
  std::size_t positions = 1;  ///< rows of a sample
  std::size_t heads = 1;
};

/// What the gradients of rows are multiplied with in sums over rows.
struct RowWeights {
  std::span<const double> weights;
  std::size_t parts = 1;  ///< sums that are stored before they are added up
};

class Operations {
 public:
  explicit Operations(const FreeArithmetic& arithmetic) : arithmetic_(arithmetic) {}

  /// What was stored again: rounded if storing rounds.
  BoundedMatrix copy(const BoundedMatrix& x) const;
  BoundedMatrix add(const BoundedMatrix& x, const BoundedMatrix& y) const;

  /// Rows of a table, `places` for each row of the result side by side.
  BoundedMatrix gather(const BoundedMatrix& table, std::span<const std::size_t> places,
                       std::size_t rows) const;
  /// Its gradient: each place's piece of dy, weighted, added to that row of a table of this size.
  BoundedMatrix scatter(const BoundedMatrix& dy, std::span<const std::size_t> places,
                        std::size_t table_rows, const RowWeights& weights) const;

  /// x w + bias, or x w^T + bias if w is (outputs, inputs). `bias` may be null.
  BoundedMatrix linear(const BoundedMatrix& x, const BoundedMatrix& w, bool output_input,
                       const BoundedMatrix* bias) const;
  BoundedMatrix linear_input_gradient(const BoundedMatrix& dy, const BoundedMatrix& w,
                                      bool output_input) const;
  /// In the layout of w.
  BoundedMatrix linear_weight_gradient(const BoundedMatrix& x, const BoundedMatrix& dy,
                                       bool output_input, const RowWeights& weights) const;
  /// (1, columns): of a bias.
  BoundedMatrix bias_gradient(const BoundedMatrix& dy, const RowWeights& weights) const;

  BoundedMatrix relu(const BoundedMatrix& x) const;
  /// dy where x is above 0; x is the input.
  BoundedMatrix relu_gradient(const BoundedMatrix& x, const BoundedMatrix& dy) const;
  BoundedMatrix gelu(const BoundedMatrix& x, GeluForm form) const;
  BoundedMatrix gelu_gradient(const BoundedMatrix& x, const BoundedMatrix& dy, GeluForm form) const;

  BoundedMatrix layer_norm(const BoundedMatrix& x, const BoundedMatrix& gain,
                           const BoundedMatrix* bias, double epsilon) const;
  BoundedMatrix layer_norm_input_gradient(const BoundedMatrix& x, const BoundedMatrix& gain,
                                          const BoundedMatrix& dy, double epsilon) const;
  BoundedMatrix layer_norm_gain_gradient(const BoundedMatrix& x, const BoundedMatrix& dy,
                                         double epsilon, const RowWeights& weights) const;

  /// query | key | value -> heads side by side.
  BoundedMatrix attention(const BoundedMatrix& qkv, const AttentionHeads& heads) const;
  BoundedMatrix attention_gradient(const BoundedMatrix& qkv, const BoundedMatrix& dy,
                                   const AttentionHeads& heads) const;

  /// Each row's loss (rows, 1); 0 without a target (negative).
  BoundedMatrix cross_entropy(const BoundedMatrix& logits, std::span<const int> targets) const;
  /// The sum of some rows' losses, times `scale`: (1, 1).
  BoundedMatrix mean_loss(const BoundedMatrix& losses, std::size_t begin, std::size_t end,
                          double scale) const;
  /// (softmax - [is the target]) times the row's scale.
  BoundedMatrix cross_entropy_gradient(const BoundedMatrix& logits, std::span<const int> targets,
                                       std::span<const double> scales) const;

 private:
  FreeArithmetic arithmetic_;
};

/// A number known within a bound.
struct BoundedNumber {
  double value = 0;
  double bound = 0;
};

/// How a norm of several tensors is added up.
enum class NormOrder {
  any,        ///< all squares in any order
  by_tensor,  ///< it is the norm of the tensors' norms
};
/// The root of the sum of squares of all these.
BoundedNumber norm_of(std::span<const std::span<const float>> gradients, NormOrder order,
                      const FreeArithmetic& arithmetic);
/// What gradients are multiplied with: max_norm / (norm + added), at most 1.
BoundedNumber clip_factor(BoundedNumber norm, double max_norm, double added);

/// Which factors can have made these first moments of Adam: every element narrows the range.
struct FactorRange {
  double least = 0;
  double most = 1;

  bool empty() const { return !(least <= most); }
  void narrow(std::span<const float> gradient, std::span<const float> first,
              std::span<const float> first_after, double beta1);
};

struct AdamWNumbers {
  double lr = 0;
  double beta1 = 0;
  double beta2 = 0;
  double epsilon = 0;
  double weight_decay = 0;  ///< 0 for what does not decay
  std::size_t update = 1;
};

struct AdamWMoments {
  BoundedMatrix first;
  BoundedMatrix second;
};
/// Moments after an update, from those before and the gradient before clipping.
AdamWMoments adamw_moments(const BoundedMatrix& gradient, BoundedNumber clip,
                           const BoundedMatrix& first, const BoundedMatrix& second,
                           const AdamWNumbers& numbers);
/// The parameter after it, from the moments after it.
BoundedMatrix adamw_values(const BoundedMatrix& values, const AdamWMoments& moments,
                           const AdamWNumbers& numbers);
/// values - lr * (clip * gradient + weight_decay * values).
BoundedMatrix sgd_values(const BoundedMatrix& values, const BoundedMatrix& gradient,
                         BoundedNumber clip, double lr, double weight_decay);

}  // namespace meshparity
