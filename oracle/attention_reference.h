#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

/// Causal attention, transcribed from its definition one operation at a time, a row and a head
/// after the other: what the fast kernels are held to, bit for bit.
namespace meshparity::reference {

/// What AttentionShape says, and the functions that attention needs.
struct AttentionCase {
  std::size_t samples = 0;
  std::size_t positions = 0;
  std::size_t heads = 0;
  std::size_t head_size = 0;
  std::size_t part = 0;   ///< positions of a leaf; the last one takes what comes after it as well
  std::size_t parts = 1;  ///< leaves, a power of two
  float scale = 1;
  std::function<float(float)> exp;
  /// Of a row (sample, position), head and key: 0 if it is dropped. Empty: there is no dropout.
  std::function<float(std::size_t, std::size_t, std::size_t)> dropout;
};

/// output (rows, heads * head_size); largest and sums (rows, heads).
struct AttentionResult {
  std::vector<float> output;
  std::vector<float> largest;
  std::vector<float> sums;
};

AttentionResult attention(const AttentionCase& given, std::span<const float> qkv);

/// The gradient of qkv.
std::vector<float> attention_backward(const AttentionCase& given, std::span<const float> qkv,
                                      const AttentionResult& forward,
                                      std::span<const float> output_gradient);

}  // namespace meshparity::reference
