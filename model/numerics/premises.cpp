#include "model/numerics/premises.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/error.h"
#include "model/numerics/exact_sum.h"
#include "model/numerics/floating_point.h"
#include "model/numerics/functions.h"
#include "model/numerics/isa.h"
#include "model/numerics/kernels.h"
#include "model/numerics/strict_arithmetic.h"
#include "model/numerics/transformer_kernels.h"

namespace meshparity {
namespace {

/// A hash of bits in their order (FNV-1a, a word at a time).
class Bits {
 public:
  void add(float value) { add_word(std::bit_cast<std::uint32_t>(value)); }
  void add(double value) { add_word(std::bit_cast<std::uint64_t>(value)); }
  void add(std::span<const float> values) {
    for (const float value : values) add(value);
  }
  std::uint64_t hash() const { return hash_; }

 private:
  void add_word(std::uint64_t word) { hash_ = (hash_ ^ word) * 0x100000001b3U; }

  std::uint64_t hash_ = 0xcbf29ce484222325U;
};

/// `Count` numbers in [-scale, scale): multiples of 2^-23 times a power of two, exact everywhere.
template <std::size_t Count>
std::array<float, Count> numbers(std::uint64_t seed, float scale = 1.0F) {
  std::array<float, Count> values{};
  std::uint64_t state = seed;
  for (float& value : values) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    value =
        static_cast<float>(static_cast<std::int32_t>(state >> 40) - (1 << 23)) * 0x1p-23F * scale;
  }
  return values;
}

/// Operations one by one. The operands are read at run time, so that no compiler computes for this
/// processor.
std::uint64_t arithmetic() {
  volatile float operands[] = {1.0F + 0x1p-12F, -1.0F,      3.0F,     -0.0F,
                               0x1p-100F,       0x1.8p-40F, 0x1p-149F};
  const float a = operands[0];
  const float minus_one = operands[1];
  const float three = operands[2];
  const float tiny = operands[4];
  Bits bits;
  bits.add(a * a + minus_one);              // rounded twice
  bits.add(std::fma(a, a, minus_one));      // rounded once
  bits.add((minus_one + 0x1p-30F) + 1.0F);  // nobody may put these in another order
  bits.add(1.0F / three);
  bits.add(a / three);
  bits.add(std::sqrt(three));
  bits.add(operands[3] + 0.0F);
  bits.add(operands[3] * three);
  bits.add(tiny * operands[5]);     // subnormal
  bits.add(operands[6] * 0x1p30F);  // of a subnormal
  const auto wide = static_cast<double>(a);
  bits.add(wide * wide * wide * wide * wide - wide / three);
  return bits.hash();
}

std::uint64_t functions() {
  Bits bits;
  for (const float x : numbers<8>(1, 8.0F)) {
    bits.add(portable_exp(x));
    bits.add(portable_exp(x - 92.0F));  // subnormal
    bits.add(portable_log(x * x));
    bits.add(portable_tanh(x));
    bits.add(portable_erf(x));
    bits.add(portable_gelu(x));
    bits.add(portable_gelu_derivative(x));
    bits.add(portable_cos_pi(static_cast<double>(std::fabs(x)) * 0.125));
    bits.add(normal_quantile(0.5 + static_cast<double>(x) * 0.0625));
  }
  return bits.hash();
}

/// Three leaves, tiles that are not full, sums that are subnormal.
std::uint64_t products() {
  constexpr std::size_t kRows = 9;
  constexpr std::size_t kTerms = 11;
  constexpr std::size_t kColumns = 37;
  const auto bias = numbers<kColumns>(4);
  Bits bits;
  for (const float scale : {1.0F, 0x1p-70F}) {
    const auto left = numbers<kRows * kTerms>(2, scale);
    const auto right = numbers<kTerms * kColumns>(3, scale);
    std::array<float, kRows * kColumns> output{};
    canonical_product({left, kRows, kTerms}, {right, kTerms, kColumns}, 4, output);
    bits.add(output);
    canonical_product({left, kRows, kTerms}, {right, kTerms, kColumns}, kTerms, output,
                      {bias, true});
    bits.add(output);
  }
  return bits.hash();
}

std::uint64_t row_sums() {
  constexpr std::size_t kRows = 2;
  const auto logits = numbers<kRows * 43>(5, 4.0F);
  std::array<float, kRows * 43> probabilities{};
  std::array<float, kRows> largest{};
  std::array<float, kRows> log_sum{};
  softmax_rows(logits, kRows, 17, probabilities, largest, log_sum);
  Bits bits;
  bits.add(canonical_row_sum(logits, 19));
  bits.add(probabilities);
  bits.add(log_sum);
  return bits.hash();
}

std::uint64_t layer_norms() {
  constexpr std::size_t kRows = 2;
  constexpr std::size_t kColumns = 21;
  const auto input = numbers<kRows * kColumns>(6);
  const auto gain = numbers<kColumns>(7);
  const auto bias = numbers<kColumns>(8);
  const auto output_gradient = numbers<kRows * kColumns>(9);
  std::array<float, kRows> mean{};
  std::array<float, kRows> inverse_deviation{};
  std::array<float, kRows * kColumns> values{};
  const RowMoments moments{mean, inverse_deviation};
  Bits bits;
  layer_norm(input, gain, bias, moments, values);
  bits.add(values);
  layer_norm_backward(input, gain, moments, output_gradient, values);
  bits.add(values);
  return bits.hash();
}

std::uint64_t gelus() {
  auto slopes = numbers<21>(10, 4.0F);
  std::array<float, 21> output{};
  gelu(slopes, output);
  Bits bits;
  bits.add(slopes);
  bits.add(output);
  return bits.hash();
}

std::uint64_t attentions() {
  const AttentionShape shape{.samples = 1,
                             .positions = 5,
                             .heads = 2,
                             .head_size = 3,
                             .part = 3,
                             .parts = 2,
                             .sequence = 5};
  constexpr std::size_t kRows = 5;
  constexpr std::size_t kWidth = 6;
  const Dropout dropout{
      .key = {1, 2}, .step = 3, .place = 4, .probability = 0.25F, .scale = 0x1.555556p0F};
  const auto qkv = numbers<kRows * kWidth * 3>(11, 2.0F);
  const auto output_gradient = numbers<kRows * kWidth>(12);
  std::array<float, kRows * kWidth> output{};
  std::array<float, kRows * 2> largest{};
  std::array<float, kRows * 2> sums{};
  std::array<float, kRows * kWidth * 3> qkv_gradient{};
  std::vector<float> scratch(attention_scratch(shape));
  attention(shape, dropout, qkv, output, largest, sums, scratch);
  attention_backward(shape, dropout, qkv, output, largest, sums, output_gradient, qkv_gradient,
                     scratch);
  Bits bits;
  bits.add(output);
  bits.add(qkv_gradient);
  return bits.hash();
}

std::uint64_t updates() {
  const auto gradient = numbers<21>(13);
  auto values = numbers<21>(14);
  auto first_moment = numbers<21>(15);
  auto second_moment = numbers<21>(16);
  for (float& moment : second_moment) moment = moment * moment;
  Bits bits;
  sgd_update(gradient, 0.75F, 0.1F, values);
  bits.add(values);
  adamw_update({.clip = 0.75F,
                .beta1 = 0.9F,
                .one_minus_beta1 = 0.1F,
                .beta2 = 0.999F,
                .one_minus_beta2 = 0.001F,
                .step_size = 0.01F,
                .inverse_root = 3.0F,
                .epsilon = 1e-8F,
                .decay = 0.001F,
                .decays = true},
               gradient, first_moment, second_moment, values);
  bits.add(values);
  bits.add(first_moment);
  bits.add(second_moment);
  ExactSum squares;
  squares.add_squares(values);
  bits.add(std::sqrt(squares.rounded()));
  return bits.hash();
}

std::string hexadecimal(std::uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), value, 16);
  return {digits.begin(), end.ptr};
}

struct KnownBits {
  const char* what;
  std::uint64_t (*compute)();
  std::uint64_t hash;
};

/// The same for every compiler, instruction set and processor, as ci/portability shows.
constexpr KnownBits kKnownBits[] = {
    {"single operations", arithmetic, 0xf80c84263b641a12},
    {"exp, log, tanh, erf and their like", functions, 0x90745d706d1edd44},
    {"matrix products", products, 0x8fa5b471e5580fa9},
    {"row sums and softmax", row_sums, 0x5384571dfccf596d},
    {"layer norms", layer_norms, 0x901c16809f1f193},
    {"gelu", gelus, 0x386678321180ead2},
    {"attention", attentions, 0x4c5e12b37c77aa0d},
    {"updates and norms", updates, 0xde431aa0ab4555fb},
};

}  // namespace

void check_known_bits() {
  std::string wrong;
  for (const KnownBits& known : kKnownBits) {
    const std::uint64_t hash = known.compute();
    if (hash == known.hash) continue;
    wrong += (wrong.empty() ? "" : ", ") + std::string(known.what) + " (" + hexadecimal(hash) + ")";
  }
  if (wrong.empty()) return;
  throw EnvironmentError(
      "this program does not compute what the numerics contract says. Other bits "
      "came out of: " +
      wrong + ". The instruction set is " + name_of(isa_in_use()) +
      "; compiler options can do it, and so can a processor");
}

void require_premises() {
  set_floating_point_environment();
  check_known_bits();
}

}  // namespace meshparity
