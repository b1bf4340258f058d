// Every operation within its bound, whatever the form, and no bound so wide that mistakes pass.

#include "oracle/operations.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "property_tests/oracle/any_form.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

double root_mean_square(const std::vector<double>& values) {
  const double squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
  return std::sqrt(squares / static_cast<double>(std::max<std::size_t>(values.size(), 1)));
}

/// A case: its sizes, and everything that operations take.
struct Case {
  explicit Case(std::uint64_t seed)
      : form(seed),
        rows(samples * positions),
        x(form.drawn(rows, width, 1, seed % 3 == 0 ? 2.0F : 0.1F)),
        dy(form.drawn(rows, width, 0.01F)),
        w(form.drawn(width, outputs, 0.2F)),
        w_by_output(form.drawn(outputs, width, 0.2F)),
        bias(form.drawn(1, outputs, 1)),
        gain(form.drawn(1, width, 0.3F, 1)),
        shift(form.drawn(1, width, 0.3F)),
        d_out(form.drawn(rows, outputs, 0.01F)),
        qkv(form.drawn(rows, 3 * width, 1)),
        logits(form.drawn(rows, vocabulary, 2)),
        targets(rows),
        weights(rows) {
    for (std::size_t i = 0; i < rows; ++i) {
      targets[i] = i % 5 == 4 ? -1 : static_cast<int>((i * 7 + seed) % vocabulary);
      weights[i] = i < rows / 2 ? 0.25 : 0.75;
    }
    scales.assign(rows, 1.0 / static_cast<double>(rows));
  }

  static constexpr std::size_t samples = 2, positions = 35, width = 24, outputs = 18, heads = 3;
  static constexpr std::size_t vocabulary = 61, parts = 2;
  static constexpr double epsilon = 1e-5;

  RowWeights row_weights() const { return {weights, parts}; }

  AnyForm form;
  std::size_t rows;
  FloatMatrix x, dy, w, w_by_output, bias, gain, shift, d_out, qkv, logits;
  std::vector<int> targets;
  std::vector<double> weights, scales;
};

/// What an operation should give, and what it gave in one form.
struct Result {
  BoundedMatrix expected;
  FloatMatrix actual;
};

std::map<std::string, Result> all_results(Case& c, const Operations& o) {
  const float eps = static_cast<float>(c.epsilon);
  const BoundedMatrix x = exact(c.x), dy = exact(c.dy), d_out = exact(c.d_out),
                      bias = exact(c.bias);
  const BoundedMatrix gain = exact(c.gain), shift = exact(c.shift), qkv = exact(c.qkv);
  const BoundedMatrix logits = exact(c.logits);
  std::map<std::string, Result> r;
  r["linear"] = {o.linear(x, exact(c.w), false, &bias), c.form.linear(c.x, c.w, false, &c.bias)};
  r["linear by output"] = {o.linear(x, exact(c.w_by_output), true, nullptr),
                           c.form.linear(c.x, c.w_by_output, true, nullptr)};
  r["input gradient"] = {o.linear_input_gradient(d_out, exact(c.w), false),
                         c.form.linear_input_gradient(c.d_out, c.w, false)};
  r["weight gradient"] = {o.linear_weight_gradient(x, d_out, false, c.row_weights()),
                          c.form.linear_weight_gradient(c.x, c.d_out, false, c.weights, c.parts)};
  r["weight gradient by output"] = {
      o.linear_weight_gradient(x, d_out, true, c.row_weights()),
      c.form.linear_weight_gradient(c.x, c.d_out, true, c.weights, c.parts)};
  r["bias gradient"] = {o.bias_gradient(dy, c.row_weights()),
                        c.form.bias_gradient(c.dy, c.weights, c.parts)};
  r["layer norm"] = {o.layer_norm(x, gain, &shift, c.epsilon),
                     c.form.layer_norm(c.x, c.gain, c.shift, eps)};
  r["layer norm input gradient"] = {o.layer_norm_input_gradient(x, gain, dy, c.epsilon),
                                    c.form.layer_norm_input_gradient(c.x, c.gain, c.dy, eps)};
  r["layer norm gain gradient"] = {
      o.layer_norm_gain_gradient(x, dy, c.epsilon, c.row_weights()),
      c.form.layer_norm_gain_gradient(c.x, c.dy, eps, c.weights, c.parts)};
  r["gelu tanh"] = {o.gelu(x, GeluForm::tanh), c.form.gelu(c.x, true)};
  r["gelu erf"] = {o.gelu(x, GeluForm::erf), c.form.gelu(c.x, false)};
  r["gelu gradient tanh"] = {o.gelu_gradient(x, dy, GeluForm::tanh),
                             c.form.gelu_gradient(c.x, c.dy, true)};
  r["gelu gradient erf"] = {o.gelu_gradient(x, dy, GeluForm::erf),
                            c.form.gelu_gradient(c.x, c.dy, false)};
  r["attention"] = {o.attention(qkv, {c.positions, c.heads}),
                    c.form.attention(c.qkv, c.positions, c.heads)};
  r["attention gradient"] = {o.attention_gradient(qkv, dy, {c.positions, c.heads}),
                             c.form.attention_gradient(c.qkv, c.dy, c.positions, c.heads)};
  r["cross entropy"] = {o.cross_entropy(logits, c.targets),
                        c.form.cross_entropy(c.logits, c.targets)};
  r["cross entropy gradient"] = {o.cross_entropy_gradient(logits, c.targets, c.scales),
                                 c.form.cross_entropy_gradient(c.logits, c.targets, c.scales)};
  return r;
}

TEST(Operations, EveryFormIsWithinItsBoundAndNoBoundIsBlunt) {
  std::map<std::string, double> worst;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Case c(seed);
    for (const auto& [name, result] : all_results(c, Operations(FreeArithmetic::float32()))) {
      const double ratio = worst_ratio(result.actual.values, result.expected);
      EXPECT_LE(ratio, 1) << name << ", seed " << seed;
      worst[name] = std::max(worst[name], ratio);
      EXPECT_LT(root_mean_square(result.expected.bound),
                1e-3 * root_mean_square(result.expected.value))
          << name;
    }
  }
  for (const auto& [name, ratio] : worst) {
    RecordProperty(name, std::to_string(ratio));
    EXPECT_GT(ratio, 0.01) << name;
  }
}

/// Any element that is off by twice its bound is seen.
TEST(Operations, AnElementMovedByTwiceTheBoundIsOutside) {
  Case c(3);
  for (auto& [name, result] : all_results(c, Operations(FreeArithmetic::float32()))) {
    for (std::size_t i = 0; i < result.actual.values.size(); i += 7) {
      if (result.expected.bound[i] == 0) continue;
      std::vector<float> moved = result.actual.values;
      moved[i] = static_cast<float>(result.expected.value[i] + 2 * result.expected.bound[i]);
      EXPECT_GT(worst_ratio(moved, result.expected), 1) << name << " " << i;
    }
  }
}

TEST(Operations, MistakesAreFarOutside) {
  Case c(4);
  const Operations o(FreeArithmetic::float32());
  const BoundedMatrix x = exact(c.x), d_out = exact(c.d_out), bias = exact(c.bias);
  const auto outside = [](const std::vector<float>& wrong, const BoundedMatrix& expected) {
    return worst_ratio(wrong, expected) > 50;
  };
  // A bias that is not added; a square weight transposed.
  EXPECT_TRUE(outside(c.form.linear(c.x, c.w, false, nullptr).values,
                      o.linear(x, exact(c.w), false, &bias)));
  const FloatMatrix square = c.form.drawn(c.width, c.width, 0.2F);
  EXPECT_TRUE(outside(c.form.linear(c.x, square, true, nullptr).values,
                      o.linear(x, exact(square), false, nullptr)));
  // A row that is left out of a weight gradient; all rows with the same weight.
  const BoundedMatrix dw = o.linear_weight_gradient(x, d_out, false, c.row_weights());
  FloatMatrix without = c.d_out;
  for (std::size_t j = 0; j < without.columns; ++j) without(11, j) = 0;
  EXPECT_TRUE(
      outside(c.form.linear_weight_gradient(c.x, without, false, c.weights, c.parts).values, dw));
  const std::vector<double> same(c.rows, 0.5);
  EXPECT_TRUE(
      outside(c.form.linear_weight_gradient(c.x, c.d_out, false, same, c.parts).values, dw));
  // Another epsilon, the other GELU, heads of another size, one target more in the mean.
  EXPECT_TRUE(outside(c.form.layer_norm(c.x, c.gain, c.shift, 1e-3F).values,
                      o.layer_norm(x, exact(c.gain), nullptr, c.epsilon)));
  EXPECT_TRUE(outside(c.form.gelu(c.x, false).values, o.gelu(x, GeluForm::tanh)));
  EXPECT_TRUE(outside(c.form.attention(c.qkv, c.positions, 2).values,
                      o.attention(exact(c.qkv), {c.positions, c.heads})));
  std::vector<double> scales = c.scales;
  for (double& scale : scales) scale *= 70.0 / 71;
  EXPECT_TRUE(outside(c.form.cross_entropy_gradient(c.logits, c.targets, scales).values,
                      o.cross_entropy_gradient(exact(c.logits), c.targets, c.scales)));
}

/// Where the mean is far larger than the deviation, one pass over squares loses most of the digits
/// that two keep. Both are correct.
TEST(Operations, OnePassVarianceIsWithinTheBound) {
  double worst = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    AnyForm form(seed);
    const FloatMatrix x = form.drawn(20, 24, 1, 300), gain = form.drawn(1, 24, 0.1F, 1);
    const FloatMatrix shift = form.drawn(1, 24, 0.1F);
    const BoundedMatrix bias = exact(shift);
    worst = std::max(
        worst,
        worst_ratio(
            form.layer_norm(x, gain, shift, 1e-5F).values,
            Operations(FreeArithmetic::float32()).layer_norm(exact(x), exact(gain), &bias, 1e-5)));
  }
  EXPECT_LE(worst, 1) << "one pass";
  EXPECT_GT(worst, 0.01);
}

/// Where the factors of a product are as far off as their bounds allow, so is the product.
TEST(Operations, InheritedBoundsAreReached) {
  AnyForm form(5);
  const Operations o(FreeArithmetic::float32());
  const FloatMatrix x = form.drawn(1, 30, 1), w = form.drawn(30, 1, 1);
  const auto doubtful = [](const FloatMatrix& of) {
    BoundedMatrix y = exact(of);
    y.bound.assign(y.value.size(), 1e-3);
    return y;
  };
  /// Each element moved the way that the other factor's sign says.
  const auto moved = [](FloatMatrix of, const FloatMatrix& other) {
    for (std::size_t i = 0; i < of.values.size(); ++i) {
      of.values[i] += other.values[i] > 0 ? 0.999e-3F : -0.999e-3F;
    }
    return of;
  };
  const auto reaches = [&](const FloatMatrix& a, const FloatMatrix& b, const BoundedMatrix& y) {
    const double ratio = worst_ratio({form.dot(a.values, b.values)}, y);
    EXPECT_LE(ratio, 1);
    EXPECT_GT(ratio, 0.95);
  };
  reaches(moved(x, w), w, o.linear(doubtful(x), exact(w), false, nullptr));
  reaches(x, moved(w, x), o.linear(exact(x), doubtful(w), false, nullptr));
  const FloatMatrix away = moved(x, w);
  reaches(away, moved(w, away), o.linear(doubtful(x), doubtful(w), false, nullptr));
}

/// bfloat16 between operations: bounds hold one such rounding, and an element that is three off is
/// seen.
TEST(Operations, StoredAsBfloat16) {
  const auto rounded = [](std::vector<float>& values) {
    for (float& value : values) {
      const auto bits = std::bit_cast<std::uint32_t>(value);
      value = std::bit_cast<float>((bits + 0x7FFFU + (bits >> 16 & 1U)) & 0xFFFF0000U);
    }
  };
  const Operations o(FreeArithmetic::bfloat16());
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Case c(seed);
    const FloatMatrix parameter = c.w;  // of float32, rounded where it is multiplied
    for (FloatMatrix* const x : {&c.x, &c.dy, &c.d_out, &c.w, &c.bias, &c.gain, &c.shift, &c.qkv}) {
      rounded(x->values);
    }
    const BoundedMatrix x = exact(c.x), bias = exact(c.bias), shift = exact(c.shift);
    std::vector<Result> results = {
        {o.linear(x, exact(parameter), false, &bias), c.form.linear(c.x, c.w, false, &c.bias)},
        {o.linear_input_gradient(exact(c.d_out), exact(parameter), false),
         c.form.linear_input_gradient(c.d_out, c.w, false)},
        {o.layer_norm(x, exact(c.gain), &shift, c.epsilon),
         c.form.layer_norm(c.x, c.gain, c.shift, 1e-5F)},
        {o.gelu(x, GeluForm::erf), c.form.gelu(c.x, false)}};
    for (Result& result : results) {
      rounded(result.actual.values);
      EXPECT_LE(worst_ratio(result.actual.values, result.expected), 1);
      EXPECT_GT(worst_ratio(result.actual.values, result.expected), 0.2);
      EXPECT_LT(root_mean_square(result.expected.bound),
                0.01 * root_mean_square(result.expected.value));
      result.actual.values[5] *= 1 + 3 * 0x1p-8F;
      EXPECT_GT(worst_ratio(result.actual.values, result.expected), 1);
    }
  }
}

/// Factors that are cut off behind 10 bits.
TEST(Operations, FactorsOfTf32) {
  Case c(1);
  const auto cut = [](FloatMatrix x) {
    for (float& value : x.values) {
      value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xFFFFE000U);
    }
    return x;
  };
  const FloatMatrix actual = c.form.linear(cut(c.x), cut(c.w), false, &c.bias);
  const BoundedMatrix bias = exact(c.bias);
  const auto ratio = [&](const FreeArithmetic& arithmetic) {
    return worst_ratio(actual.values,
                       Operations(arithmetic).linear(exact(c.x), exact(c.w), false, &bias));
  };
  EXPECT_LE(ratio(FreeArithmetic::tf32()), 1);
  EXPECT_GT(ratio(FreeArithmetic::tf32()), 0.05);
  EXPECT_GT(ratio(FreeArithmetic::float32()), 1);
}

TEST(Operations, LongestChainSharpensLongSums) {
  AnyForm form(1);
  const FloatMatrix x = form.drawn(1, 20'000, 1);
  const FloatMatrix w = form.drawn(20'000, 1, 1);
  const BoundedMatrix any =
      Operations(FreeArithmetic::float32()).linear(exact(x), exact(w), false, nullptr);
  FreeArithmetic chains = FreeArithmetic::float32();
  chains.longest_chain = 512;
  const BoundedMatrix known = Operations(chains).linear(exact(x), exact(w), false, nullptr);
  EXPECT_NEAR(any.bound[0] / known.bound[0], 20'000.0 / (512 + 6 + 2), 1);
}

TEST(Operations, ScatterAddsUpEveryUseOfARow) {
  AnyForm form(2);
  const FloatMatrix dy = form.drawn(6, 4, 1);
  const std::vector<std::size_t> places = {2, 0, 2, 2, 1, 0};
  const std::vector<double> weights = {1, 1, 1, 2, 2, 2};
  const BoundedMatrix d =
      Operations(FreeArithmetic::float32()).scatter(exact(dy), places, 4, RowWeights{weights, 2});
  for (std::size_t c = 0; c < 4; ++c) {
    EXPECT_LE(std::abs(static_cast<double>(dy(0, c) + dy(2, c) + 2 * dy(3, c)) - d.value[8 + c]),
              d.bound[8 + c]);
    EXPECT_EQ(d.value[12 + c], 0);
    EXPECT_EQ(d.bound[12 + c], 0);  // nobody adds anything
  }
}

/// Operations chain: what comes out within a bound goes in within it.
TEST(Operations, BoundsHoldThroughSeveralOperations) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Case c(seed);
    const Operations o(FreeArithmetic::float32());
    const BoundedMatrix shift = exact(c.shift), bias = exact(c.bias);
    const BoundedMatrix n = o.layer_norm(exact(c.x), exact(c.gain), &shift, c.epsilon);
    const BoundedMatrix y = o.gelu(o.linear(n, exact(c.w), false, &bias), GeluForm::tanh);
    const float eps = static_cast<float>(c.epsilon);
    const FloatMatrix actual = c.form.gelu(
        c.form.linear(c.form.layer_norm(c.x, c.gain, c.shift, eps), c.w, false, &c.bias), true);
    EXPECT_LE(worst_ratio(actual.values, y), 1);
    EXPECT_LT(root_mean_square(y.bound), 1e-3 * root_mean_square(y.value));
  }
}

TEST(Operations, RefusesWhatDoesNotFit) {
  AnyForm form(1);
  const Operations o(FreeArithmetic::float32());
  const BoundedMatrix x = exact(form.drawn(3, 4, 1)), w = exact(form.drawn(5, 4, 1));
  EXPECT_THROW(o.linear(x, w, false, nullptr), std::invalid_argument);
  EXPECT_THROW(o.add(x, w), std::invalid_argument);
  EXPECT_THROW(o.attention(x, {3, 1}), std::invalid_argument);
  const std::vector<int> targets = {0, 1, 4};
  EXPECT_THROW(o.cross_entropy(x, targets), std::invalid_argument);
  EXPECT_THROW(exact_matrix(2, 2, std::vector<float>(3)), std::invalid_argument);
}

RC_GTEST_PROP(OperationsProperty, SumsOfAnyFloatsAreWithinTheirBound, ()) {
  const std::size_t n = *random::from_to(1, 300);
  const auto a = random::floats(n, random::moderate_float());
  const auto b = random::floats(n, random::moderate_float());
  AnyForm form(*random::any_seed());
  const BoundedMatrix expected =
      Operations(FreeArithmetic::float32())
          .linear(exact_matrix(1, n, a), exact_matrix(n, 1, b), false, nullptr);
  RC_ASSERT(worst_ratio({form.dot(a, b)}, expected) <= 1);
}

}  // namespace
}  // namespace meshparity
