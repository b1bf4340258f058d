// Hypotheses about a tensor, without a training step around it.
#include "golden/judge/hypotheses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "golden/judge/bfloat16.h"

namespace meshparity {
namespace {

using Values = std::vector<double>;

/// In (-1, 1), the same everywhere.
Values random_values(std::size_t size, std::uint32_t seed) {
  std::mt19937 draw(seed);
  Values values(size);
  for (double& x : values) x = static_cast<double>(draw()) * 0x1p-31 - 1;
  return values;
}

/// Rounded as a float32 computation would.
Values noisy(Values values, std::uint32_t seed) {
  const Values noise = random_values(values.size(), seed);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += 1e-7 * noise[i];
  return values;
}

Values times(double factor, Values values) {
  for (double& x : values) x *= factor;
  return values;
}

constexpr std::size_t kRows = 6;
constexpr std::size_t kColumns = 8;
const std::vector<NamedSize> kSizes = {{3, "dp = 3"}, {41, "targets = 41", true}};

class HypothesesTest : public testing::Test {
 protected:
  const Values right_ = random_values(kRows * kColumns, 1);
  const Values bound_ = Values(right_.size(), 3e-7);

  /// Of a tensor with these values, tried by `trials`.
  std::vector<Hypothesis> found(const Values& actual,
                                const std::function<void(Hypotheses&)>& trials) const {
    Hypotheses hypotheses({{kRows, kColumns}, actual, right_, bound_}, kSizes, {2, 3});
    trials(hypotheses);
    return hypotheses.fitting();
  }
  std::string simple(const Values& actual) const {
    const auto fitting = found(noisy(actual, 2), [](Hypotheses& h) { h.try_simple(); });
    return fitting.empty() ? "none" : fitting[0].mistake.id;
  }
};

TEST_F(HypothesesTest, ConstantFactorsHaveTheNamesOfSizes) {
  EXPECT_EQ(simple(times(3, right_)), "summed-over-axis-again");
  EXPECT_EQ(simple(times(1.0 / 3, right_)), "divided-twice");
  EXPECT_EQ(simple(times(41, right_)), "not-divided-by-tokens");
  EXPECT_EQ(simple(times(1.0 / 41, right_)), "divided-by-tokens-again");
  EXPECT_EQ(simple(times(2, right_)), "factor");
  EXPECT_EQ(simple(times(0.25, right_)), "factor");
  EXPECT_EQ(simple(times(1.37, right_)), "fitted-factor");
  EXPECT_EQ(simple(times(-1, right_)), "sign");
  EXPECT_EQ(simple(Values(right_.size(), 0.0)), "zero");
}

TEST_F(HypothesesTest, PiecesOutOfPlaceAreFound) {
  Values swapped = right_;
  std::swap_ranges(swapped.begin(), swapped.begin() + kRows * kColumns / 2,
                   swapped.begin() + kRows * kColumns / 2);
  EXPECT_EQ(simple(swapped), "shard-misplaced");
  Values halves = right_;
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t i = 0; i < kColumns / 2; ++i) {
      std::swap(halves[row * kColumns + i], halves[row * kColumns + i + kColumns / 2]);
    }
  }
  EXPECT_EQ(simple(halves), "shard-misplaced");
  Values missing = right_;
  std::fill_n(missing.begin() + 2 * kRows * kColumns / 3, kRows * kColumns / 3, 0.0);
  EXPECT_EQ(simple(missing), "shard-missing");
}

TEST_F(HypothesesTest, ATransposeAndBfloat16AreFound) {
  Values transposed;
  for (std::size_t c = 0; c < kColumns; ++c) {
    for (std::size_t r = 0; r < kRows; ++r) transposed.push_back(right_[r * kColumns + c]);
  }
  EXPECT_EQ(simple(transposed), "transposed");
  Values rounded = right_;
  for (double& x : rounded) x = rounded_to_bfloat16(x);
  EXPECT_EQ(simple(rounded), "rounded-to-bf16");
}

TEST_F(HypothesesTest, NothingIsNamedThatDoesNotFit) {
  EXPECT_EQ(simple(random_values(right_.size(), 5)), "none");
  Values one = right_;
  one[17] += 0.5;
  EXPECT_EQ(simple(one), "none");
  Values half = right_;  // a factor of some elements
  for (std::size_t i = 0; i < half.size(); i += 2) half[i] *= 3;
  EXPECT_EQ(simple(half), "none");
  const Values other = random_values(right_.size(), 6);
  Values mixed = right_;
  for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += 0.2 * other[i];
  EXPECT_EQ(simple(times(3, mixed)), "none");
}

TEST_F(HypothesesTest, AFewElementsMustAgreeMoreClosely) {
  const Values expected = {1.0, 2.0};
  const auto id = [&](const Values& actual) {
    Hypotheses hypotheses({{2}, actual, expected, {}}, kSizes, {});
    hypotheses.try_simple();
    const auto fitting = hypotheses.fitting();
    return fitting.empty() ? "none" : fitting[0].mistake.id;
  };
  EXPECT_EQ(id({3.0, 6.0}), "summed-over-axis-again");
  EXPECT_EQ(id({3.0, 6.02}), "none");
  EXPECT_EQ(id({1.7, 3.4}), "none") << "any two numbers have about a factor";
}

/// Three addends of the right values.
std::vector<Term> three_terms(const Values& right) {
  std::vector<Term> terms;
  Values rest = right;
  for (std::uint32_t t = 0; t < 2; ++t) {
    terms.push_back({"part " + std::to_string(t), random_values(right.size(), 10 + t)});
    for (std::size_t i = 0; i < rest.size(); ++i) rest[i] -= terms[t].values[i];
  }
  terms.push_back({"part 2", rest});
  return terms;
}

TEST_F(HypothesesTest, MultiplesOfTermsAreRead) {
  const std::vector<Term> terms = three_terms(right_);
  const SumMistakes mistakes = {{"only"}, {"missing"}, {"again"}, {"weights"}};
  const auto read = [&](const Values& multiples) {
    Values actual(right_.size());
    for (std::size_t t = 0; t < 3; ++t) {
      for (std::size_t i = 0; i < actual.size(); ++i) {
        actual[i] += multiples[t] * terms[t].values[i];
      }
    }
    const std::vector<SumPattern> patterns = {{{"known", "a known mistake"}, {1.1, 0.9, 1}}};
    const auto fitting =
        found(noisy(actual, 3), [&](Hypotheses& h) { h.try_sum(mistakes, terms, patterns); });
    return fitting.empty() ? "none" : fitting[0].mistake.id + ": " + fitting[0].mistake.what;
  };
  EXPECT_EQ(read({0, 1, 0}), "only: part 1 alone");
  EXPECT_EQ(read({0, 3, 3}), "only: 3.000000 x part 1, part 2 alone");
  EXPECT_EQ(read({1, 0, 1}), "missing: the sum without part 1");
  EXPECT_EQ(read({1, 2, 1}), "again: the sum with part 1 counted 2.000000 times");
  EXPECT_EQ(read({0.25, 0.5, 1}),
            "weights: the sum of 0.250000 x part 0, 0.500000 x part 1, 1.000000 x part 2");
  EXPECT_EQ(read({1.1, 0.9, 1}), "known: a known mistake");
  EXPECT_EQ(read({2, 2, 2}), "none") << "a constant factor has its own hypothesis";
}

TEST_F(HypothesesTest, ADependentTermIsNoReasonToFail) {
  std::vector<Term> terms = three_terms(right_);
  terms.push_back(terms[0]);
  const auto fitting = found(times(3, right_), [&](Hypotheses& h) {
    h.try_sum({{"only"}, {"missing"}, {"again"}, {"weights"}}, terms, {});
  });
  EXPECT_TRUE(fitting.empty());
}

TEST_F(HypothesesTest, OfEquallyGoodOnesTheSimplerIsFirst) {
  const Values actual = noisy(times(3, right_), 4);
  const auto fitting = found(actual, [&](Hypotheses& h) {
    h.try_values({"chosen", "chosen values"}, actual);
    h.try_simple();
  });
  ASSERT_EQ(fitting.size(), 2U) << "a fitted factor says what the first one says";
  EXPECT_EQ(fitting[0].mistake.id, "summed-over-axis-again");
  EXPECT_EQ(fitting[1].mistake.id, "chosen");
  EXPECT_EQ(fitting[0].within, right_.size());
  EXPECT_LT(fitting[0].unexplained, 1e-6);
}

TEST_F(HypothesesTest, ATermThatShouldNotBeThereIsNotMissing) {
  std::vector<Term> terms = three_terms(right_);
  terms.erase(terms.begin());
  terms[1].right = 0;
  const auto read = [&](double first, double second) {
    Values actual = terms[0].values;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      actual[i] = first * actual[i] + second * terms[1].values[i];
    }
    const auto fitting = found(noisy(actual, 3), [&](Hypotheses& h) {
      h.try_sum({{"only"}, {"missing"}, {"again"}, {"weights"}}, terms, {});
    });
    return fitting.empty() ? "none" : fitting[0].mistake.id + ": " + fitting[0].mistake.what;
  };
  EXPECT_EQ(read(3, 0), "again: the sum with part 1 counted 3.000000 times");
  EXPECT_EQ(read(1, 1), "again: the sum with part 2 counted 1.000000 times");
  EXPECT_EQ(read(0, 1), "only: part 2 alone");
  EXPECT_EQ(read(1, 0), "none") << "as it should be";
}

TEST_F(HypothesesTest, TheOneTermBesideWhatIsFixedIsNamed) {
  const Values term = random_values(right_.size(), 20);
  Values actual = right_;
  for (std::size_t i = 0; i < actual.size(); ++i) actual[i] += 3 * term[i];
  const auto fitting = found(noisy(actual, 3), [&](Hypotheses& h) {
    h.try_sum({{"only"}, {"missing"}, {"again"}, {"weights"}}, {{"the term", term}}, {}, right_);
  });
  ASSERT_EQ(fitting.size(), 1U);
  EXPECT_EQ(fitting[0].mistake.id, "again");
  EXPECT_EQ(fitting[0].mistake.what, "the sum with the term counted 3.000000 times");
}

/// In the first `pieces` of three pieces of the rows other values, in the others the right ones.
Values in_pieces(Values values, const Values& other, std::size_t pieces) {
  std::copy_n(other.begin(), pieces * other.size() / 3, values.begin());
  return values;
}

TEST_F(HypothesesTest, ValuesInSomeOfThePieces) {
  const Values other = random_values(right_.size(), 21);
  const auto read = [&](const Values& actual) {
    const auto fitting = found(noisy(actual, 3), [&](Hypotheses& h) {
      h.try_values_in_pieces({"other", "other values", "they are old"}, other);
    });
    return fitting.empty() ? "none" : fitting[0].mistake.what + ": " + fitting[0].mistake.why;
  };
  EXPECT_EQ(read(in_pieces(right_, other, 1)),
            "other values, in pieces 1 of 3 of its rows: they are old, on some ranks alone");
  EXPECT_EQ(read(in_pieces(right_, other, 2)),
            "other values, in pieces 1 2 of 3 of its rows: they are old, on some ranks alone");
  EXPECT_EQ(read(other), "none") << "all of them are no pieces";
  EXPECT_EQ(read(in_pieces(right_, random_values(right_.size(), 22), 1)), "none");
}

TEST_F(HypothesesTest, MultiplesInPiecesAreThoseOfATermBesideWhatIsFixed) {
  const Values term = random_values(right_.size(), 21);
  const auto sum = [&](double multiple) {
    Values values = right_;
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += multiple * term[i];
    return values;
  };
  const auto read = [&](const Values& actual) {
    const auto fitting = found(noisy(actual, 3), [&](Hypotheses& h) {
      h.try_multiples_in_pieces({"own", "the term"}, term, right_);
    });
    return fitting.empty() ? "none" : fitting[0].mistake.what;
  };
  EXPECT_EQ(read(in_pieces(sum(2), sum(0.5), 1)),
            "0.500000, 2.000000, 2.000000 x the term in 3 pieces of its rows");
  EXPECT_EQ(read(sum(2)), "none") << "one factor is no factor of pieces";
}

TEST_F(HypothesesTest, ValuesInSomeElements) {
  const Values other = random_values(right_.size(), 21);
  const auto fits = [&](const Values& actual) {
    return !found(noisy(actual, 3), [&](Hypotheses& h) {
              h.try_values_by_element({"other"}, other);
            }).empty();
  };
  Values mixed = right_;
  for (std::size_t i = 0; i < mixed.size(); i += 5) mixed[i] = other[i];
  EXPECT_TRUE(fits(mixed));
  for (double& x : mixed) x += 1;
  EXPECT_FALSE(fits(mixed)) << "far from both";
}

TEST_F(HypothesesTest, OfWhatShouldBeZeroThereAreNoFactors) {
  const Values zeros(right_.size(), 0.0);
  Hypotheses hypotheses({{kRows, kColumns}, right_, zeros, bound_}, kSizes, {2, 3});
  hypotheses.try_simple();
  EXPECT_TRUE(hypotheses.fitting().empty());
  EXPECT_TRUE(describe("grad/x", hypotheses).starts_with("grad/x: none of the "))
      << describe("grad/x", hypotheses);
}

TEST_F(HypothesesTest, AreDescribed) {
  const Values twice = times(3, right_);
  Hypotheses hypotheses({{kRows, kColumns}, twice, right_, bound_}, kSizes, {});
  hypotheses.try_simple();
  const std::string text = describe("grad/x", hypotheses);
  EXPECT_TRUE(
      text.starts_with("grad/x equals 3.000000 x the right values in all 48 elements: added "
                       "up once more over dp = 3, or not divided by it (catalogue A02, "))
      << text;
  EXPECT_NE(text.find(" hypotheses tested, 1 fits"), std::string::npos) << text;
  const Values other = random_values(right_.size(), 8);
  Hypotheses none({{kRows, kColumns}, other, right_, bound_}, kSizes, {});
  none.try_simple();
  EXPECT_TRUE(describe("grad/x", none).starts_with("grad/x: none of the ")) << describe("x", none);
}

}  // namespace
}  // namespace meshparity
