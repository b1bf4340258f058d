#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "model/numerics/kernels.h"

/// The transformer's loops, in the order that NUMERICS.md (version 2) gives every operation.
namespace meshparity {

/// What a layer norm has saved of each row.
struct SavedMoments {
  std::span<const float> mean;               ///< (rows)
  std::span<const float> inverse_deviation;  ///< (rows): 1 / sqrt(variance + epsilon)
};
/// The same, to be filled.
struct RowMoments {
  std::span<float> mean;
  std::span<float> inverse_deviation;

  // NOLINTNEXTLINE(google-explicit-constructor): as a span of values is one of constant values
  operator SavedMoments() const { return {mean, inverse_deviation}; }
};
inline constexpr float kLayerNormEpsilon = 1e-5F;

/// output = n * gain + bias, n = (input - mean) * inverse_deviation, all (rows, gain.size()).
/// Fills `moments`. The sums along a row are canonical row sums of one leaf.
void layer_norm(std::span<const float> input, std::span<const float> gain,
                std::span<const float> bias, RowMoments moments, std::span<float> output);

/// The same output again, from moments that are known.
void layer_norm_again(std::span<const float> input, std::span<const float> gain,
                      std::span<const float> bias, const SavedMoments& moments,
                      std::span<float> output);

/// input_gradient = ((g - a) - n * b) * inverse_deviation, g = dy * gain, a = S(g) / C,
/// b = S(g * n) / C. `input_gradient` may be `output_gradient` itself.
void layer_norm_backward(std::span<const float> input, std::span<const float> gain,
                         const SavedMoments& moments, std::span<const float> output_gradient,
                         std::span<float> input_gradient);

/// One leaf of the gain's gradient, a chain of fma(dy, n, sum) over the rows, row by row, onto
/// `gain_gradient`. (The bias's is add_rows.)
void add_layer_norm_gain(std::span<const float> input, const SavedMoments& moments,
                         std::span<const float> output_gradient, std::span<float> gain_gradient);

/// output = gelu(values), and in place of each value the slope there: they have most in common.
void gelu(std::span<float> values_then_slopes, std::span<float> output);
/// gradient = gradient * slope, in place.
void gelu_backward(std::span<const float> slopes, std::span<float> gradient);

/// Which activations a place drops, as a function of coordinates alone: Philox counter
/// (feature / 4, slot * positions + position, step, place), word feature mod 4; kept if the unit
/// float is >= probability. Throws std::logic_error for a coordinate of 2^32 or more.
struct Dropout {
  std::array<std::uint32_t, 2> key{};
  std::uint64_t step = 0;
  std::uint32_t place = 0;
  std::uint64_t first_row = 0;  ///< slot * positions + position of the first row at hand
  float probability = 0;        ///< 0: nothing is dropped, and nothing scaled
  float scale = 1;              ///< 1 / (1 - probability), rounded once from binary64

  bool active() const { return probability > 0; }
};

/// Rows of all features, in place: kept values times `scale`, dropped ones +0 by selection. (The
/// gradient goes through the same.)
void apply_dropout(const Dropout& dropout, std::size_t rows, std::span<float> values);

/// Causal attention of some heads over the samples at hand. Rows are (sample, position).
struct AttentionShape {
  std::size_t samples = 0;
  std::size_t positions = 0;   ///< of each sample here
  std::size_t heads = 0;       ///< here
  std::size_t head_size = 0;   ///< d
  std::size_t part = 0;        ///< positions of a leaf of every sum over keys or queries
  std::size_t parts = 1;       ///< leaves of a sample, a power of two
  std::size_t first_head = 0;  ///< of the model: for dropout's coordinates (head * sequence + key)
  std::size_t sequence = 0;    ///< positions of a whole sample: likewise
  float scale = 1;             ///< of scores: 1 / sqrt(d) in binary64, rounded

  std::size_t rows() const { return samples * positions; }
};
/// Floats that `attention` and `attention_backward` need to work in.
std::size_t attention_scratch(const AttentionShape& shape);

/// qkv (rows, 3 * heads * d): query, key and value of head 0, then of head 1 ... -> output
/// (rows, heads * d), and for backward `largest` and `sums` (rows, heads): each row's largest score
/// and sum of powers.
void attention(const AttentionShape& shape, const Dropout& dropout, std::span<const float> qkv,
               std::span<float> output, std::span<float> largest, std::span<float> sums,
               std::span<float> scratch);

/// qkv_gradient, laid out like qkv. The scores are computed again.
void attention_backward(const AttentionShape& shape, const Dropout& dropout,
                        std::span<const float> qkv, std::span<const float> output,
                        std::span<const float> largest, std::span<const float> sums,
                        std::span<const float> output_gradient, std::span<float> qkv_gradient,
                        std::span<float> scratch);

/// The numbers of a step of AdamW (Loshchilov and Hutter, arXiv:1711.05101), each computed in
/// binary64 and rounded once.
struct AdamWStep {
  float clip = 1;  ///< what every gradient element is multiplied with first
  float beta1 = 0;
  float one_minus_beta1 = 0;
  float beta2 = 0;
  float one_minus_beta2 = 0;
  float step_size = 0;     ///< s = lr / (1 - beta1^t)
  float inverse_root = 0;  ///< r = 1 / sqrt(1 - beta2^t)
  float epsilon = 0;
  float decay = 0;      ///< h = lr * weight decay
  bool decays = false;  ///< this tensor; otherwise it keeps what it has
};

/// g = clip * gradient; m = fma(b1, m, a1 * g); v = fma(b2, v, (a2 * g) * g);
/// w = fma(-h, w, w) if the tensor decays; w = fma(-s, m / (sqrt(v) * r + eps), w).
void adamw_update(const AdamWStep& step, std::span<const float> gradient,
                  std::span<float> first_moment, std::span<float> second_moment,
                  std::span<float> values);

/// For a head whose vocabulary is shared out. Each row's largest value, -infinity where there are
/// no columns; NaN if a value is.
void largest_of_rows(std::span<const float> matrix, std::size_t rows, std::span<float> largest);
/// powers = e^(values - largest of the row).
void powers_of_rows(std::span<const float> matrix, std::span<const float> largest,
                    std::span<float> powers);
/// For each row, leaf `leaf` (columns [columns.begin, columns.end)) of a canonical row sum.
void row_leaves(std::span<const float> matrix, std::size_t rows, Range columns,
                std::span<float> sums);

}  // namespace meshparity
