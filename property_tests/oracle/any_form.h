#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "oracle/operations.h"

/// The operations of a training step in float32, each time in another of the forms that frameworks
/// have: what bounds for every correct form must hold for.
namespace meshparity {

/// (rows, columns), row-major.
struct FloatMatrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> values;

  float& operator()(std::size_t i, std::size_t j) { return values[i * columns + j]; }
  float operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }
};

BoundedMatrix exact(const FloatMatrix& x);

/// The largest error / bound.
double worst_ratio(const std::vector<float>& actual, const BoundedMatrix& expected);

/// Each seed is another form, and other values.
inline constexpr std::uint64_t kSeeds = 25;

class AnyForm {
 public:
  explicit AnyForm(std::uint64_t seed) : random_(seed) {}

  /// Normal values of this deviation around `mean`.
  FloatMatrix drawn(std::size_t rows, std::size_t columns, float deviation, float mean = 0);

  /// Of all terms, each once: one chain, chains, 8 or 16 lanes or a tree, in any order.
  float sum(std::vector<float> terms);
  /// The same of products, some of them fused.
  float dot(const std::vector<float>& a, const std::vector<float>& b);

  FloatMatrix linear(const FloatMatrix& x, const FloatMatrix& w, bool output_input,
                     const FloatMatrix* bias);
  FloatMatrix linear_input_gradient(const FloatMatrix& dy, const FloatMatrix& w, bool output_input);
  /// Rows of each part are added up, then weighted, or the other way round.
  FloatMatrix linear_weight_gradient(const FloatMatrix& x, const FloatMatrix& dy, bool output_input,
                                     const std::vector<double>& weights, std::size_t parts);
  FloatMatrix bias_gradient(const FloatMatrix& dy, const std::vector<double>& weights,
                            std::size_t parts);

  FloatMatrix layer_norm(const FloatMatrix& x, const FloatMatrix& gain, const FloatMatrix& bias,
                         float epsilon);
  FloatMatrix layer_norm_input_gradient(const FloatMatrix& x, const FloatMatrix& gain,
                                        const FloatMatrix& dy, float epsilon);
  FloatMatrix layer_norm_gain_gradient(const FloatMatrix& x, const FloatMatrix& dy, float epsilon,
                                       const std::vector<double>& weights, std::size_t parts);

  FloatMatrix gelu(const FloatMatrix& x, bool by_tanh);
  FloatMatrix gelu_gradient(const FloatMatrix& x, const FloatMatrix& dy, bool by_tanh);

  FloatMatrix attention(const FloatMatrix& qkv, std::size_t positions, std::size_t heads);
  FloatMatrix attention_gradient(const FloatMatrix& qkv, const FloatMatrix& dy,
                                 std::size_t positions, std::size_t heads);

  /// Each row's loss; 0 without a target.
  FloatMatrix cross_entropy(const FloatMatrix& logits, const std::vector<int>& targets);
  FloatMatrix cross_entropy_gradient(const FloatMatrix& logits, const std::vector<int>& targets,
                                     const std::vector<double>& scales);

  struct Adam {
    float lr, beta1, beta2, epsilon, decay;
    std::size_t update;
  };
  /// Values, first and second moments, which it changes.
  void adamw(std::vector<float>& values, std::vector<float>& first, std::vector<float>& second,
             const std::vector<float>& gradient, float clip, const Adam& numbers);
  float norm(const std::vector<std::vector<float>>& gradients);

  bool coin() { return random_() % 2 == 0; }

 private:
  /// What a library function may give: up to 3 ulp off.
  float off(double exact);
  /// Also by formula 7.1.26 of Abramowitz and Stegun, as PyTorch has it.
  float erf(float x);
  std::vector<float> column(const FloatMatrix& x, std::size_t j) const;
  /// Over rows, part by part.
  float weighted_sum(const std::vector<float>& terms, const std::vector<double>& weights,
                     std::size_t parts);
  std::pair<float, float> statistics(std::span<const float> row, float epsilon);
  /// The first n keys of a row of scores -> probabilities.
  std::vector<float> softmax(const std::vector<float>& scores);
  float score(const FloatMatrix& qkv, std::size_t q, std::size_t k, std::size_t column,
              std::size_t width);

  std::mt19937_64 random_;
};

}  // namespace meshparity
