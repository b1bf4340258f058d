#include "model/numerics/exact_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace meshparity {
namespace {

constexpr int kUnitExponent = -298;  // the square of the smallest subnormal float, 2^-149
constexpr std::uint64_t kWordMask = 0xFFFFFFFFULL;

}  // namespace

void ExactSum::add_squares(std::span<const float> values) {
  // Squares of one exponent are added up first: 2^16 of them, of 48 bits each, fit into a word.
  // Neighbours have much the same exponent: in tables of their own, none waits for the one before.
  constexpr std::size_t kBlock = 1 << 16;
  constexpr std::size_t kTables = 4;
  while (!values.empty()) {
    const std::span<const float> block = values.first(std::min(values.size(), kBlock));
    std::array<std::array<std::uint64_t, 256>, kTables> sums_of{};
    for (std::size_t i = 0; i < block.size(); ++i) {
      // |value| = significand * 2^exponent with a significand of at most 24 bits.
      const auto bits = std::bit_cast<std::uint32_t>(block[i]);
      const std::uint32_t biased = (bits >> 23) & 0xFFU;
      const std::uint64_t significand = (bits & 0x7FFFFFU) | (biased == 0 ? 0U : 0x800000U);
      sums_of[i % kTables][biased] += significand * significand;
    }
    std::array<std::uint64_t, 256>& sums = sums_of[0];
    for (std::size_t table = 1; table < kTables; ++table) {
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += sums_of[table][i];
    }
    constexpr std::size_t kNotFinite = 255;
    if (sums[kNotFinite] != 0) ++not_finite_;
    for (std::size_t biased = 0; biased < kNotFinite; ++biased) {
      if (sums[biased] == 0) continue;
      const int exponent = (biased == 0 ? 1 : static_cast<int>(biased)) - 150;
      add(sums[biased], static_cast<unsigned>(2 * exponent - kUnitExponent));
    }
    values = values.subspan(block.size());
  }
}

void ExactSum::add(std::uint64_t value, unsigned shift) {
  const std::size_t word = shift / 32;
  const unsigned offset = shift % 32;
  words_[word] += (value << offset) & kWordMask;
  words_[word + 1] += (value >> (32 - offset)) & kWordMask;
  if (word + 2 < words_.size()) words_[word + 2] += value >> 32 >> (32 - offset);
  if (++pending_ == 0x7FFFFFFFU) carry();
}

void ExactSum::carry() {
  for (std::size_t i = 0; i + 1 < words_.size(); ++i) {
    words_[i + 1] += words_[i] >> 32;
    words_[i] &= kWordMask;
  }
  pending_ = 0;
}

double ExactSum::rounded() const {
  if (not_finite_ > 0) return std::numeric_limits<double>::quiet_NaN();
  ExactSum sum = *this;
  sum.carry();
  std::size_t top = words_.size();
  while (top > 0 && sum.words_[top - 1] == 0) --top;
  if (top == 0) return 0.0;

  // The upper 64 significant bits, the lowest of them sticky; the conversion to double then rounds
  // once, to nearest even.
  const auto word = [&](std::size_t i) { return i < top ? sum.words_[top - 1 - i] : 0; };
  const auto leading = static_cast<unsigned>(std::countl_zero(word(0)) - 32);
  const auto bits_below = [&](std::size_t i) {
    return leading == 0 ? 0 : word(i) >> (32 - leading);
  };
  std::uint64_t head = (word(0) << (32 + leading)) | (word(1) << leading) | bits_below(2);
  bool sticky = (word(2) << leading & kWordMask) != 0;
  for (std::size_t i = 3; i < top; ++i) sticky = sticky || word(i) != 0;
  if (sticky) head |= 1;
  // word(0) is 32 bits at 32 * (top - 1); head's bit 63 is its leading bit.
  const int head_exponent =
      kUnitExponent + 32 * static_cast<int>(top - 1) - 32 - static_cast<int>(leading);
  return std::ldexp(static_cast<double>(head), head_exponent);
}

void ExactSum::to_words(std::span<std::uint64_t, word_count> words) const {
  ExactSum sum = *this;
  sum.carry();
  std::ranges::copy(sum.words_, words.begin());
  words.back() = not_finite_;
}

ExactSum ExactSum::from_words(std::span<const std::uint64_t, word_count> words) {
  ExactSum sum;
  std::ranges::copy(words.first<word_count - 1>(), sum.words_.begin());
  sum.not_finite_ = words.back();
  sum.carry();
  return sum;
}

}  // namespace meshparity
