// The operations that carry values and errors together, one by one: float32 programs that round as
// badly as they may stay inside, and errors that must cancel do.

#include "oracle/judged.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>

namespace meshparity::rounding {
namespace {

/// Rounding up or down at random: twice the error of rounding to nearest.
const Arithmetic kDirected{.unit = 0x1p-23 + 0x1p-50, .underflow = 0x1p-149, .function_error = 0};

/// The judged computation: float32, each result rounded up or down as a coin decides.
class RandomRounding {
 public:
  explicit RandomRounding(std::uint64_t seed) : random_(seed) {}

  float rounded(double exact) {
    const auto nearest = static_cast<float>(exact);
    if (static_cast<double>(nearest) == exact) return nearest;
    const bool nearest_is_up = static_cast<double>(nearest) > exact;
    const bool up = random_() % 2 == 0;
    return up == nearest_is_up ? nearest : std::nextafter(nearest, up ? INFINITY : -INFINITY);
  }
  /// x weight + bias, the terms one after the other; products of floats are exact in double.
  Matrix affine(const Matrix& x, const Matrix& weight, const Matrix& bias) {
    Matrix result(x.rows(), weight.cols());
    for (Index b = 0; b < result.rows(); ++b) {
      for (Index j = 0; j < result.cols(); ++j) {
        double sum = 0;
        for (Index i = 0; i < x.cols(); ++i) sum = rounded(x(b, i) * weight(i, j) + sum);
        result(b, j) = rounded(sum + bias(0, j));
      }
    }
    return result;
  }
  template <typename Operation>
  Matrix each(const Matrix& x, const Matrix& y, const Operation& operation) {
    return x.binaryExpr(y, [&](double a, double b) -> double { return rounded(operation(a, b)); });
  }

 private:
  std::mt19937_64 random_;
};

Matrix random_floats(std::mt19937_64& random, Index rows, Index columns) {
  std::uniform_int_distribution<int> value(-(1 << 16), 1 << 16);
  Matrix result(rows, columns);
  for (double& x : result.reshaped()) x = value(random) * 0x1p-16;
  return result;
}

/// The worst error / bound.
double ratio(const Rounded& expected, const Matrix& actual) {
  const Matrix error = (actual - expected.value).cwiseAbs();
  double worst = 0;
  for (Index i = 0; i < error.size(); ++i) {
    if (error.data()[i] > 0) {
      worst = std::max(worst, error.data()[i] / expected.bound.data()[i]);
    }
  }
  return worst;
}

/// A batch of two rows, which is all that rows need to know.
struct TwoRows {
  std::vector<Token> tokens{0, 0};
  std::vector<Token> targets{0, 0};
  MicroBatch batch{.slots = {0, 2}, .leaves = {}, .tokens = tokens, .targets = targets};
};

TEST(Judged, BoundsProductsOfTwoInexactRows) {
  const TwoRows two;
  const Rules rules{kDirected, SumOrder::canonical};
  double worst_product = 0;
  double worst_mixed = 0;
  EXPECT_TRUE(rc::check("rows multiplied, added, subtracted and mixed again", [&] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto width = static_cast<Index>(*rc::gen::inRange(1, 12));
    std::mt19937_64 random(seed);
    RandomRounding program(seed + 1);
    Judged judged(two.batch, rules);
    const auto matrix = [&] { return random_floats(random, width, width); };
    const auto row = [&] { return random_floats(random, 1, width); };
    const Matrix input = random_floats(random, 2, width);
    const Matrix w[] = {matrix(), matrix(), matrix(), matrix()};
    const Matrix bias[] = {row(), row(), row(), row()};
    const auto affine = [&](const Judged::Rows& x, std::size_t i) {
      return judged.affine(x, w[i], bias[i], static_cast<std::size_t>(width));
    };

    // x and y come from the same z, so their errors have much in common.
    const Judged::Rows z = affine(Judged::exact(input), 0);
    const Judged::Rows x = affine(z, 1);
    const Judged::Rows y = affine(z, 2);
    const Judged::Rows product = judged.product(x, y);
    const Judged::Rows sum = judged.add(product, x);
    const Judged::Rows mixed = affine(judged.subtract(sum, y), 3);

    const Matrix z32 = program.affine(input, w[0], bias[0]);
    const Matrix x32 = program.affine(z32, w[1], bias[1]);
    const Matrix y32 = program.affine(z32, w[2], bias[2]);
    const Matrix product32 = program.each(x32, y32, std::multiplies<>());
    const Matrix sum32 = program.each(product32, x32, std::plus<>());
    const Matrix mixed32 = program.affine(program.each(sum32, y32, std::minus<>()), w[3], bias[3]);
    for (const auto& [expected, actual] : {std::pair<const Rounded&, const Matrix&>(z, z32),
                                           {x, x32},
                                           {y, y32},
                                           {product, product32},
                                           {sum, sum32},
                                           {mixed, mixed32}}) {
      RC_ASSERT(ratio(expected, actual) <= 1);
    }
    worst_product = std::max(worst_product, ratio(product, product32));
    worst_mixed = std::max(worst_mixed, ratio(mixed, mixed32));
  }));
  std::cout << "worst error/bound: products " << worst_product << ", mixed again " << worst_mixed
            << '\n';
  EXPECT_GT(worst_product, 0.1);
  EXPECT_GT(worst_mixed, 0.1);
}

/// Rows whose errors are far larger than any rounding.
Judged::Rows doubtful_rows(Index width, double doubt, Unknown first) {
  std::mt19937_64 random(3);
  Judged::Rows rows = Judged::exact(random_floats(random, 2, width));
  for (Index b = 0; b < 2; ++b) {
    RowErrors& errors = rows.errors[static_cast<std::size_t>(b)];
    errors.add(RowErrors::Row::Constant(width, doubt), first);
    rows.bound.row(b) = errors.bound();
  }
  return rows;
}

TEST(Judged, ErrorsThatRowsShareCancel) {
  constexpr double kDoubt = 0x1p-8;
  const TwoRows two;
  const Rules rules{binary32(), SumOrder::canonical};
  Judged judged(two.batch, rules);
  const Judged::Rows x = doubtful_rows(6, kDoubt, 1000);
  const Matrix none = Matrix::Zero(1, 6);

  // x - x is 0, and what was in doubt of x does not matter: only this class's own roundings do.
  const Judged::Rows nothing = judged.subtract(x, x);
  EXPECT_TRUE(nothing.value.isZero(0));
  EXPECT_LT(nothing.bound.maxCoeff(), kDoubt * 0x1p-48);

  // x + f(x) with f = -x / 2: half the doubt, and roundings. Their bounds alone make 3/2 of it.
  const Judged::Rows half = judged.affine(x, -0.5 * Matrix::Identity(6, 6), none, 6);
  EXPECT_GE(half.bound.minCoeff(), kDoubt / 2);
  const Judged::Rows sum = judged.add(x, half);
  EXPECT_GE(sum.bound.minCoeff(), kDoubt / 2);
  EXPECT_LT(sum.bound.maxCoeff(), kDoubt / 2 * (1 + 0x1p-10));

  // The same through a permutation and back, where every error is another element's meanwhile.
  const Matrix turn = Matrix::Identity(6, 6).rowwise().reverse();
  const Judged::Rows back = judged.affine(judged.affine(x, turn, none, 6), turn, none, 6);
  EXPECT_LT(judged.subtract(x, back).bound.maxCoeff(), kDoubt * 0x1p-10);

  // Rows that share nothing have both their doubts.
  const Judged::Rows other = doubtful_rows(6, kDoubt, 2000);
  EXPECT_GE(judged.subtract(x, other).bound.minCoeff(), 2 * kDoubt);
}

/// Where all errors of all rows would be too many numbers, bounds alone are kept: of the same
/// size, but nothing cancels any more.
TEST(Judged, WithoutRoomForErrorsBoundsAreKept) {
  constexpr double kDoubt = 0x1p-8;
  const TwoRows two;
  const Rules rules{binary32(), SumOrder::canonical};
  const Judged::Rows x = doubtful_rows(6, kDoubt, 1000);
  const Matrix turn = Matrix::Identity(6, 6).rowwise().reverse();
  Judged judged(two.batch, rules, 0);
  const Judged::Rows turned = judged.affine(x, turn, Matrix::Zero(1, 6), 6);
  EXPECT_GE(turned.bound.minCoeff(), kDoubt);
  EXPECT_LT(turned.bound.maxCoeff(), kDoubt * (1 + 0x1p-10));
  const Judged::Rows back = judged.affine(turned, turn, Matrix::Zero(1, 6), 6);
  EXPECT_GE(judged.subtract(x, back).bound.minCoeff(), 2 * kDoubt);
}

/// Rows in doubt by more than they are long may be any rows: what a norm is of any row bounds it.
TEST(Judged, NormsOfRowsThatMayBeAnythingAreBounded) {
  constexpr double kDoubt = 10;
  constexpr Index kWidth = 6;
  const TwoRows two;
  Judged judged(two.batch, {binary32(), SumOrder::canonical});
  const Judged::Rows x = doubtful_rows(kWidth, kDoubt, 1000);
  const auto normalized = judged.normalize(x);
  const auto hold = [&](const Matrix& actual, double& worst, double& worst_inverse) {
    const Matrix d = actual.colwise() - actual.rowwise().mean();
    const Matrix scales =
        (d.rowwise().squaredNorm().array() / double{kWidth} + double{1e-5F}).sqrt().inverse();
    worst = std::max(worst, ratio(normalized.first, d.array().colwise() * scales.col(0).array()));
    worst_inverse = std::max(worst_inverse, ratio(normalized.second, scales));
  };
  double worst = 0;
  double worst_inverse = 0;
  std::mt19937_64 random(5);
  for (int i = 0; i < 200; ++i) {
    hold(x.value + kDoubt * random_floats(random, 2, kWidth), worst, worst_inverse);
  }
  EXPECT_GT(worst, 0.5);
  hold(Matrix::Zero(2, kWidth), worst, worst_inverse);  // the largest scale there is
  EXPECT_GT(worst_inverse, 0.9);
  EXPECT_LE(worst, 1);
  EXPECT_LE(worst_inverse, 1);
}

TEST(Judged, ProductsKnowWhatTheirFactorsShare) {
  // (c + e) (c - e) = c^2 - e^2: what is linear in e cancels.
  constexpr double kDoubt = 0x1p-8;
  const TwoRows two;
  const Rules rules{binary32(), SumOrder::canonical};
  Judged judged(two.batch, rules);
  const Judged::Rows x = doubtful_rows(4, kDoubt, 1000);
  const Judged::Rows c = Judged::exact(x.value);
  const Judged::Rows mirrored = judged.subtract(judged.add(c, c), x);
  const Judged::Rows product = judged.product(x, mirrored);
  EXPECT_GE(product.bound.minCoeff(), kDoubt * kDoubt);
  EXPECT_LT(product.bound.maxCoeff(), kDoubt * kDoubt * (1 + 0x1p-6));
}

TEST(Judged, SumsOfSumsRoundOnce) {
  const TwoRows two;
  const Rules rules{binary32(), SumOrder::canonical};
  const Judged judged(two.batch, rules);
  // 1 + 2^-24 is a tie, and becomes 1.
  const Rounded sum =
      judged.add(exactly(Matrix::Constant(1, 1, 1)), exactly(Matrix::Constant(1, 1, 0x1p-24)));
  EXPECT_EQ(sum.value(0, 0), 1 + 0x1p-24);
  EXPECT_GE(sum.bound(0, 0), 0x1p-24);
  EXPECT_LT(sum.bound(0, 0), 0x1p-24 * (1 + 0x1p-20));
  // What either sum is off, the sum may be off.
  const Rounded doubtful = judged.add({sum.value, Matrix::Constant(1, 1, 0.5)},
                                      {sum.value, Matrix::Constant(1, 1, 0.25)});
  EXPECT_GE(doubtful.bound(0, 0), 0.75);
}

TEST(Judged, ReluPaysForDoubtOnly) {
  const TwoRows two;
  const Rules rules{binary32(), SumOrder::canonical};
  Judged judged(two.batch, rules);
  Judged::Rows x = doubtful_rows(4, 0.25, 1000);
  x.value << 1, -1, 0.125, -0.125,  //
      2, -2, 0.25, -0.25;
  const Judged::Rows y = judged.relu(x);
  const Matrix bounds{{0.25, 0, 0.375, 0.125}, {0.25, 0, 0.25, 0}};
  EXPECT_EQ(y.bound, bounds);
  // In doubt, all of a gradient may be there or not.
  const Matrix gradient = Matrix::Constant(2, 4, 3);
  const Judged::Rows dx = judged.relu_gradient(Judged::exact(gradient), y);
  const Matrix values{{3, 0, 3, 0}, {3, 0, 3, 0}};
  EXPECT_EQ(dx.value, values);
  const Matrix doubts{{0, 0, 3, 3}, {0, 0, 3, 0}};
  EXPECT_EQ(dx.bound, doubts);
}

}  // namespace
}  // namespace meshparity::rounding
