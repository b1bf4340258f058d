// Optimizers and clipping within their bounds, whatever the form.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "oracle/operations.h"
#include "property_tests/oracle/any_form.h"

namespace meshparity {
namespace {

TEST(OperationsUpdate, AdamWInEveryFormIsWithinItsBounds) {
  double worst = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    AnyForm form(seed);
    const FloatMatrix before = form.drawn(1, 200, 0.1F), gradient = form.drawn(1, 200, 0.01F);
    const FloatMatrix first = form.drawn(1, 200, 0.01F);
    FloatMatrix second = form.drawn(1, 200, 0.01F);
    for (float& v : second.values) v *= v;
    const std::size_t update = seed == 1 ? 1 : seed * 10;
    const AnyForm::Adam of_form{1e-3F, 0.9F, 0.999F, 1e-8F, 0.1F, update};
    const AdamWNumbers numbers{static_cast<double>(1e-3F),  static_cast<double>(0.9F),
                               static_cast<double>(0.999F), static_cast<double>(1e-8F),
                               static_cast<double>(0.1F),   update};
    FloatMatrix values = before, m = first, v = second;
    form.adamw(values.values, m.values, v.values, gradient.values, 0.5F, of_form);
    const AdamWMoments after =
        adamw_moments(exact(gradient), {0.5, 1e-12}, exact(first), exact(second), numbers);
    const BoundedMatrix expected = adamw_values(exact(before), {exact(m), exact(v)}, numbers);
    for (const double ratio :
         {worst_ratio(m.values, after.first), worst_ratio(v.values, after.second),
          worst_ratio(values.values, expected)}) {
      EXPECT_LE(ratio, 1) << seed;
      worst = std::max(worst, ratio);
    }
    // Another update's bias correction, no decay, no clipping.
    AdamWNumbers wrong = numbers;
    wrong.update += 1;
    EXPECT_GT(worst_ratio(values.values, adamw_values(exact(before), {exact(m), exact(v)}, wrong)),
              1);
    wrong = numbers;
    wrong.weight_decay = 0;
    EXPECT_GT(worst_ratio(values.values, adamw_values(exact(before), {exact(m), exact(v)}, wrong)),
              10);
    EXPECT_GT(
        worst_ratio(
            m.values,
            adamw_moments(exact(gradient), {1, 0}, exact(first), exact(second), numbers).first),
        10);
    // The factor can be told from the moments.
    FactorRange range;
    range.narrow(gradient.values, first.values, m.values, numbers.beta1);
    EXPECT_FALSE(range.empty());
    EXPECT_LE(range.least, 0.5);
    EXPECT_GE(range.most, 0.5);
    EXPECT_LT(range.most - range.least, 1e-4);
  }
  EXPECT_GT(worst, 0.1);
}

TEST(OperationsUpdate, SgdInEveryFormIsWithinItsBounds) {
  double worst = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    AnyForm form(seed);
    const FloatMatrix before = form.drawn(1, 200, 0.1F), gradient = form.drawn(1, 200, 0.1F);
    const float lr = 1e-2F, clip = 0.3F, decay = seed % 2 == 0 ? 0.1F : 0;
    const auto sum = [&](float a, float b, float c) {  // a b + c
      return form.coin() ? std::fma(a, b, c) : static_cast<float>(a * b) + c;
    };
    FloatMatrix after = before;
    for (std::size_t i = 0; i < after.values.size(); ++i) {
      float& p = after.values[i];
      float d = clip * gradient.values[i];
      if (decay != 0) d = sum(decay, p, d);
      p = sum(-lr, d, p);
    }
    const auto ratio = [&](BoundedNumber factor, float rate, double of_values) {
      return worst_ratio(after.values, sgd_values(exact(before), exact(gradient), factor,
                                                  static_cast<double>(rate), of_values));
    };
    const BoundedNumber factor{static_cast<double>(clip), 0};
    const auto weight = static_cast<double>(decay);
    EXPECT_LE(ratio(factor, lr, weight), 1) << seed;
    worst = std::max(worst, ratio(factor, lr, weight));
    EXPECT_GT(ratio(factor, 1.001F * lr, weight), 1) << seed;
    EXPECT_GT(ratio(factor, lr, weight + 0.1), 10) << seed;
    EXPECT_GT(ratio({1, 0}, lr, weight), 10) << seed << ": no clipping";
    // What is not known of the factor is not known of the step.
    EXPECT_LE(ratio({1, 0.71}, lr, weight), 1) << seed;
  }
  EXPECT_GT(worst, 0.1);
}

TEST(OperationsUpdate, TensorsOfOtherSizesAreRefused) {
  AnyForm form(1);
  const BoundedMatrix four = exact(form.drawn(1, 4, 1)), five = exact(form.drawn(1, 5, 1));
  const AdamWNumbers numbers{1e-3, 0.9, 0.999, 1e-8, 0.1, 1};
  EXPECT_THROW(sgd_values(four, five, {1, 0}, 0.1, 0), std::invalid_argument);
  EXPECT_THROW(adamw_moments(four, {1, 0}, five, four, numbers), std::invalid_argument);
  EXPECT_THROW(adamw_moments(four, {1, 0}, four, five, numbers), std::invalid_argument);
  EXPECT_THROW(adamw_values(four, {five, four}, numbers), std::invalid_argument);
  EXPECT_THROW(adamw_values(four, {four, five}, numbers), std::invalid_argument);
}

TEST(OperationsUpdate, NormAndClipFactorInEveryForm) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    AnyForm form(seed);
    std::vector<std::vector<float>> gradients = {form.drawn(1, 300, 0.1F).values,
                                                 form.drawn(1, 500, 0.01F).values};
    const std::vector<std::span<const float>> spans(gradients.begin(), gradients.end());
    const BoundedNumber norm = norm_of(spans, NormOrder::by_tensor, FreeArithmetic::float32());
    const float actual = form.norm(gradients);
    EXPECT_LE(std::abs(static_cast<double>(actual) - norm.value), norm.bound);
    const BoundedNumber clip = clip_factor(norm, 0.5, 1e-6);
    const float factor = std::min(1.0F, 0.5F / (actual + 1e-6F));
    EXPECT_LE(std::abs(static_cast<double>(factor) - clip.value), clip.bound);
    // One of the tensors forgotten.
    const BoundedNumber part =
        norm_of(std::span(spans).first(1), NormOrder::any, FreeArithmetic::float32());
    EXPECT_GT(std::abs(clip_factor(part, 0.5, 1e-6).value - clip.value), 2 * clip.bound);
    EXPECT_EQ(clip_factor(norm, 100, 0).bound, 0);  // certainly not clipped
    EXPECT_EQ(clip_factor(norm, 100, 0).value, 1);
  }
}

}  // namespace
}  // namespace meshparity
