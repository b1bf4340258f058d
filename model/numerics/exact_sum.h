#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace meshparity {

/// The exact sum of squares of floats, as one long integer in units of 2^-298: the square of a
/// float is exact in binary64 and lies between 2^-298 and 2^256. No order of adding can matter.
class ExactSum {
 public:
  /// 32 bits a word; the sum of up to 2^31 words from different ranks stays in range. The last word
  /// tells whether a value was not finite.
  static constexpr std::size_t word_count = 21;

  /// Adds value * value for each. Values need not be finite: see `rounded`.
  void add_squares(std::span<const float> values);

  /// The sum, rounded once to binary64. NaN if a value was not finite.
  double rounded() const;

  void to_words(std::span<std::uint64_t, word_count> words) const;
  static ExactSum from_words(std::span<const std::uint64_t, word_count> words);

 private:
  std::array<std::uint64_t, word_count - 1> words_{};  // word i counts units of 2^(32 i - 298)
  std::uint64_t not_finite_ = 0;                       // blocks of values with one among them
  std::uint32_t pending_ = 0;                          // additions since the last carry
  void add(std::uint64_t value, unsigned shift);       // value * 2^(shift - 298)
  void carry();
};

}  // namespace meshparity
