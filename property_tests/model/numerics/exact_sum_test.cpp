#include "model/numerics/exact_sum.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;
using Words = std::array<std::uint64_t, ExactSum::word_count>;
constexpr int kUnitExponent = -298;

Words words_of(const ExactSum& sum) {
  Words words{};
  sum.to_words(words);
  return words;
}

ExactSum sum_of(const std::vector<float>& values) {
  ExactSum sum;
  sum.add_squares(values);
  return sum;
}

/// An integer as it is done on paper, one binary digit at a time; digit i counts 2^(i - 298).
class LongNumber {
 public:
  void add(std::uint64_t value, std::size_t digit) {
    for (; value != 0; value >>= 1, ++digit) {
      if ((value & 1) != 0) add_one(digit);
    }
  }

  void add_square(float value) {
    int exponent = 0;
    const double significand = std::ldexp(std::frexp(static_cast<double>(value), &exponent), 24);
    const auto whole = static_cast<std::uint64_t>(std::abs(significand));
    if (whole == 0) return;
    // value^2 = whole^2 * 2^(2 exponent - 48); a subnormal's lowest digits are 0.
    const int digit = 2 * (exponent - 24) - kUnitExponent;
    std::uint64_t square = whole * whole;
    int at = digit;
    for (; at < 0; ++at) {
      ASSERT_EQ(square % 2, 0U);
      square /= 2;
    }
    add(square, static_cast<std::size_t>(at));
  }

  /// To binary64, to nearest, ties to even.
  double rounded() const {
    std::size_t top = digits_.size();
    while (top > 0 && !digits_[top - 1]) --top;
    const std::size_t lowest = top > 53 ? top - 53 : 0;
    std::uint64_t significand = 0;
    for (std::size_t i = top; i-- > lowest;) significand = 2 * significand + digits_[i];
    if (lowest > 0 && digits_[lowest - 1]) {
      bool more = false;
      for (std::size_t i = 0; i + 1 < lowest; ++i) more = more || digits_[i];
      if (more || significand % 2 == 1) ++significand;
    }
    return std::ldexp(static_cast<double>(significand), static_cast<int>(lowest) + kUnitExponent);
  }

 private:
  void add_one(std::size_t digit) {
    while (digits_[digit]) digits_[digit++] = false;
    digits_[digit] = true;
  }

  std::array<bool, 32 * (ExactSum::word_count + 1)> digits_{};
};

RC_GTEST_PROP(ExactSum, AnyOrderAndAnySplitGiveTheSameWords, ()) {
  const std::vector<float> values = random::floats(
      *from_to(0, 60),
      *rc::gen::element(random::finite_float(), random::moderate_float(), random::tiny_float()));
  const ExactSum expected = sum_of(values);

  std::vector<std::size_t> order(values.size());
  for (std::size_t i = order.size(); i-- > 0;) {
    order[i] = i;
    std::swap(order[i], order[*from_to(i, order.size() - 1)]);
  }
  std::vector<ExactSum> parts(*from_to(1, 7));
  for (const std::size_t i : order) {
    parts[*from_to(0, parts.size() - 1)].add_squares({&values[i], 1});
  }
  Words total{};
  for (const ExactSum& part : parts) {
    const Words words = words_of(part);
    for (std::size_t w = 0; w < total.size(); ++w) total[w] += words[w];
  }
  const ExactSum joined = ExactSum::from_words(total);
  RC_ASSERT(words_of(joined) == words_of(expected));
  RC_ASSERT(joined.rounded() == expected.rounded());
}

RC_GTEST_PROP(ExactSum, AgreesWithASumOnPaper, ()) {
  const std::vector<float> values = random::floats(
      *from_to(0, 40),
      *rc::gen::element(random::finite_float(), random::moderate_float(), random::tiny_float()));
  LongNumber paper;
  for (const float value : values) paper.add_square(value);
  RC_ASSERT(sum_of(values).rounded() == paper.rounded());
}

RC_GTEST_PROP(ExactSum, AgreesWithBinary64WhereThatIsExact, ()) {
  const int exponent = static_cast<int>(*from_to(0, 249)) - 149;
  ExactSum sum;
  double expected = 0;
  for (std::size_t i = *from_to(0, 200); i > 0; --i) {
    const double value = std::ldexp(static_cast<double>(*from_to(0, (1U << 20) - 1)), exponent) *
                         (*rc::gen::arbitrary<bool>() ? 1 : -1);
    const auto narrow = static_cast<float>(value);
    sum.add_squares({&narrow, 1});
    expected += value * value;  // whole numbers below 2^48 times one power of two
  }
  RC_ASSERT(sum.rounded() == expected);
}

RC_GTEST_PROP(ExactSum, WordsFromManyRanksAreCarried, ()) {
  // As 2^31 ranks could add them up: far more than 32 bits a word.
  Words words{};
  LongNumber paper;
  for (std::size_t w = 0; w < 18; ++w) {
    words[w] = *random::any_seed() >> *from_to(1, 63);
    paper.add(words[w], 32 * w);
  }
  const ExactSum sum = ExactSum::from_words(words);
  RC_ASSERT(sum.rounded() == paper.rounded());
  for (const std::uint64_t word : words_of(sum)) {
    RC_ASSERT(word <= std::numeric_limits<std::uint32_t>::max());
  }
  RC_ASSERT(words_of(ExactSum::from_words(words_of(sum))) == words_of(sum));
}

TEST(ExactSum, NothingIsZero) {
  EXPECT_EQ(ExactSum().rounded(), 0.0);
  EXPECT_EQ(sum_of({0.0F, -0.0F}).rounded(), 0.0);
  EXPECT_EQ(words_of(sum_of({0.0F})), Words{});
}

TEST(ExactSum, ReachesBothEndsOfTheFormat) {
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  constexpr float kLargest = std::numeric_limits<float>::max();
  const auto square = [](float x) { return static_cast<double>(x) * static_cast<double>(x); };
  EXPECT_EQ(sum_of({kSmallest}).rounded(), 0x1p-298);
  EXPECT_EQ(sum_of({-kLargest}).rounded(), square(kLargest));
  EXPECT_EQ(sum_of({kLargest, kSmallest}).rounded(), square(kLargest));

  constexpr std::size_t kMany = std::size_t{1} << 20;
  ExactSum smallest;
  ExactSum largest;
  for (std::size_t i = 0; i < kMany; ++i) {
    smallest.add_squares({&kSmallest, 1});
    largest.add_squares({&kLargest, 1});
  }
  EXPECT_EQ(smallest.rounded(), static_cast<double>(kMany) * 0x1p-298);
  EXPECT_EQ(largest.rounded(), static_cast<double>(kMany) * square(kLargest));
}

TEST(ExactSum, BlocksOfTheLargestSignificandsDoNotOverflow) {
  // Of one exponent, so that all of a block meet in one word; and a few more than whole blocks.
  for (const int exponent : {-125, 3}) {
    const float value = std::ldexp(static_cast<float>((1U << 24) - 1), exponent);
    const std::size_t count = (std::size_t{1} << 17) + 3;
    LongNumber paper;
    for (std::size_t i = 0; i < count; ++i) paper.add_square(value);
    ASSERT_EQ(sum_of(std::vector<float>(count, value)).rounded(), paper.rounded()) << exponent;
  }
}

TEST(ExactSum, RoundsToNearestEven) {
  const float big = 0x1p27F;  // squared: 2^54, where doubles are 4 apart
  const float quarter_step = 1.0F;
  EXPECT_EQ(sum_of({big, quarter_step}).rounded(), 0x1p54);
  // 2^54 + 2 is a tie, and 2^54 is even.
  EXPECT_EQ(sum_of({big, quarter_step, quarter_step}).rounded(), 0x1p54);
  // Anything more, however small, is above it.
  for (const float more : {1.0F, 0x1p-20F, 0x1p-60F, 0x1p-149F}) {
    EXPECT_EQ(sum_of({big, quarter_step, quarter_step, more}).rounded(), 0x1p54 + 4) << more;
  }
  // 2^54 + 6 is a tie between the odd 2^54 + 4 and the even 2^54 + 8.
  EXPECT_EQ(sum_of({big, 2.0F, quarter_step, quarter_step}).rounded(), 0x1p54 + 8);
  EXPECT_EQ(sum_of({big, 2.0F, quarter_step}).rounded(), 0x1p54 + 4);
}

TEST(ExactSum, TiesAtEveryPosition) {
  // The same tie, moved through all alignments of the words, and what is just above it.
  for (int exponent = -149; exponent <= 100; ++exponent) {
    const float unit = std::ldexp(1.0F, exponent);
    const float big = std::ldexp(1.0F, exponent + 27);
    const double scale = std::ldexp(1.0, 2 * exponent);
    ASSERT_EQ(sum_of({big, unit, unit}).rounded(), 0x1p54 * scale) << exponent;
    ASSERT_EQ(sum_of({big, 2 * unit, unit, unit}).rounded(), (0x1p54 + 8) * scale) << exponent;
    for (int lower = exponent; lower >= std::max(-149, exponent - 80); --lower) {
      const float more = std::ldexp(1.0F, lower);
      ASSERT_EQ(sum_of({big, unit, unit, more}).rounded(), (0x1p54 + 4) * scale)
          << exponent << ", " << lower;
    }
  }
}

}  // namespace
}  // namespace meshparity
