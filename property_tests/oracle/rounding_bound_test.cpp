// The oracle's rounding bound: float32 programs that share nothing with it stay inside, planted
// mistakes do not.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "oracle/canonical_reference.h"
#include "oracle/compare.h"
#include "property_tests/oracle/oracle_cases.h"

namespace meshparity {
namespace {

/// Floats of both signs and of magnitudes that differ by up to `spread` powers of two.
std::vector<float> random_terms(std::size_t count, int spread) {
  return *rc::gen::container<std::vector<float>>(
      count, rc::gen::apply(
                 [](int mantissa, int exponent) {
                   return std::ldexp(static_cast<float>(mantissa), exponent);
                 },
                 rc::gen::inRange(-(1 << 24), 1 << 24), rc::gen::inRange(0, spread + 1)));
}

TEST(Bound, HoldsForOneSum) {
  double worst = 0;
  EXPECT_TRUE(rc::check("a canonical sum, a dot product, leaves in random order", [&] {
    const auto count = *rc::gen::inRange<std::size_t>(1, 60);
    const auto grain = *rc::gen::inRange<std::size_t>(1, 20);
    const auto spread = *rc::gen::element(0, 3, 30);
    const std::vector<float> a = random_terms(count, spread);
    const std::vector<float> b = random_terms(count, spread);
    const auto hold = [&](const Bounded& bounded, float actual) {
      const double ratio = RoundingBound(bounded).ratio(0, actual);
      worst = std::max(worst, ratio);
      RC_ASSERT(ratio <= 1);
    };
    hold(bounded_sum(a, grain, SumOrder::canonical), reference::canonical_sum(a, grain));
    hold(bounded_dot(a, b, grain, SumOrder::canonical), reference::canonical_dot(a, b, grain));

    // Whole leaves, added up in any tree: two random partial sums at a time.
    std::vector<float> partial;
    for (std::size_t first = 0; first < count; first += grain) {
      const std::size_t length = std::min(grain, count - first);
      partial.push_back(reference::canonical_sum(std::span(a).subspan(first, length), grain));
    }
    while (partial.size() > 1) {
      std::swap(partial.back(), partial[*rc::gen::inRange<std::size_t>(0, partial.size())]);
      const float last = partial.back();
      partial.pop_back();
      partial[*rc::gen::inRange<std::size_t>(0, partial.size())] += last;
    }
    hold(bounded_sum(a, grain, SumOrder::leaves), partial[0]);
  }));
  std::cout << "one sum: worst error/bound " << worst << '\n';
}

TEST(Bound, HoldsForOneSumThatUnderflows) {
  const std::vector<float> a{0x1p-100F, 0x1.8p-100F};
  const std::vector<float> b{0x1p-50F, 0x1.8p-50F};  // 1.0 and 2.25 times half a subnormal
  const Bounded dot = bounded_dot(a, b, 1, SumOrder::canonical);
  EXPECT_EQ(dot.value[0], 0x1.ap-149);
  EXPECT_TRUE(RoundingBound(dot).accepts(0, 0x1p-149F));
  EXPECT_FALSE(RoundingBound(dot).accepts(0, 0x1p-146F));
}

/// Only exp, log and the last sum round: all weights are 0, and the logits are the bias.
TEST(Bound, HoldsWhereFunctionsAreCareless) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("softmax of exact logits", [&] {
    Recipe recipe = random_recipe(40);
    recipe.batch = recipe.context = recipe.embedding = recipe.hidden = recipe.layers = 1;
    const auto vocabulary = *rc::gen::inRange<std::size_t>(2, 20);
    StepCase drawn = drawn_case(recipe, vocabulary, *rc::gen::element(0.01, 0.1, 1.0, 10.0));
    for (auto& [name, values] : drawn.values) {
      if (name != "output.bias") std::ranges::fill(values, 0.0F);
    }
    const std::string difference =
        outside(drawn, literal_step(drawn, careless_functions()), ratios);
    if (!difference.empty()) RC_FAIL(difference);
  }));
  print("softmax alone", ratios);
}

TEST(Bound, HoldsForTheCanonicalOrder) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("a float32 step in the canonical order is within the bound", [&] {
    StepCase drawn = random_case(40);
    for (std::size_t step = 0; step < 3 && cannot_overflow(drawn.model, drawn.values); ++step) {
      const ComputedStep actual = literal_step(drawn, careless_functions());
      const std::string difference = outside(drawn, actual, ratios, step);
      if (!difference.empty()) RC_FAIL(difference);
      drawn.values = actual.updated.values;
    }
  }));
  print("canonical order", ratios);
}

using Lists = std::vector<std::vector<float>>;

struct NaiveStep {
  float loss = 0;
  Lists gradients;
  Lists updated;
};

/// A step of an MLP as one might write it in an afternoon: plain loops, separate multiplications
/// and additions, no leaves. A product and n - 1 additions touch a term, as many roundings as n
/// fused ones.
NaiveStep naive_step(const Recipe& recipe, const Lists& parameters, const Batch& batch) {
  const std::size_t samples = batch.targets.size();
  const std::size_t vocabulary = parameters.back().size();
  const std::size_t inputs = recipe.context * recipe.embedding;
  NaiveStep step;
  step.gradients = parameters;
  for (auto& gradient : step.gradients) std::fill(gradient.begin(), gradient.end(), 0.0F);
  const float scale = 1.0F / static_cast<float>(samples);

  for (std::size_t b = 0; b < samples; ++b) {
    Lists x{{}};
    for (std::size_t i = 0; i < inputs; ++i) {
      const Token token = batch.tokens[b * recipe.context + i / recipe.embedding];
      x[0].push_back(
          parameters[0][static_cast<std::size_t>(token) * recipe.embedding + i % recipe.embedding]);
    }
    for (std::size_t l = 0; l <= recipe.layers; ++l) {
      const auto& bias = parameters[2 + 2 * l];
      std::vector<float> y(bias.size());
      for (std::size_t i = 0; i < x[l].size(); ++i) {
        for (std::size_t j = 0; j < y.size(); ++j) {
          y[j] += x[l][i] * parameters[1 + 2 * l][i * y.size() + j];
        }
      }
      for (std::size_t j = 0; j < y.size(); ++j) {
        y[j] += bias[j];
        if (l < recipe.layers) y[j] = std::max(y[j], 0.0F);
      }
      x.push_back(y);
    }
    std::vector<float> gradient = x.back();
    const auto target = static_cast<std::size_t>(batch.targets[b]);
    const float most = *std::max_element(gradient.begin(), gradient.end());
    float total = 0;
    for (float& z : gradient) total += z = library_functions().exp(z - most);
    step.loss += library_functions().log(total) - (x.back()[target] - most);
    for (std::size_t j = 0; j < vocabulary; ++j) {
      gradient[j] = (gradient[j] / total - (j == target ? 1.0F : 0.0F)) * scale;
    }
    for (std::size_t l = recipe.layers + 1; l-- > 0;) {
      std::vector<float> below(x[l].size());
      for (std::size_t i = 0; i < below.size(); ++i) {
        for (std::size_t j = 0; j < gradient.size(); ++j) {
          step.gradients[1 + 2 * l][i * gradient.size() + j] += x[l][i] * gradient[j];
          below[i] += gradient[j] * parameters[1 + 2 * l][i * gradient.size() + j];
        }
        if (l > 0 && x[l][i] <= 0) below[i] = 0;
      }
      for (std::size_t j = 0; j < gradient.size(); ++j) step.gradients[2 + 2 * l][j] += gradient[j];
      gradient = below;
    }
    for (std::size_t i = 0; i < inputs; ++i) {
      const Token token = batch.tokens[b * recipe.context + i / recipe.embedding];
      step.gradients[0][static_cast<std::size_t>(token) * recipe.embedding +
                        i % recipe.embedding] += gradient[i];
    }
  }
  step.loss *= scale;
  step.updated = parameters;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    for (std::size_t i = 0; i < parameters[p].size(); ++i) {
      step.updated[p][i] =
          std::fma(-static_cast<float>(recipe.lr), step.gradients[p][i], parameters[p][i]);
    }
  }
  return step;
}

ComputedStep naively_computed(const StepCase& drawn) {
  Lists parameters;
  for (const ParameterSpec& spec : drawn.model.parameters) {
    parameters.push_back(drawn.values.at(spec.name));
  }
  const NaiveStep step = naive_step(drawn.recipe, parameters, drawn.batch);
  ComputedStep result;
  result.step.loss = step.loss;
  result.step.values = drawn.values;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const std::string& name = drawn.model.parameters[p].name;
    result.step.gradients[name] = step.gradients[p];
    result.updated.values[name] = step.updated[p];
  }
  return result;
}

TEST(Bound, HoldsForANaiveProgramInAnyOrder) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("a naive float32 step is within the bound for any order", [&] {
    const StepCase drawn = random_mlp_case(40);
    const std::string difference =
        outside(drawn, naively_computed(drawn), ratios, 0, SumOrder::any);
    if (!difference.empty()) RC_FAIL(difference);
  }));
  print("naive program, any order", ratios);
}

RC_GTEST_PROP(Bound, WidensWithTheFreedomOfOrder, ()) {
  const StepCase drawn = random_case(20);
  const OracleStep canonical = oracle_of(drawn, SumOrder::canonical);
  const OracleStep leaves = oracle_of(drawn, SumOrder::leaves);
  const OracleStep any = oracle_of(drawn, SumOrder::any);
  // Equal bounds may be computed in different ways: 2^-40 is room for binary64.
  const auto nested = [](const Bounded& inner, const Bounded& outer) {
    return std::equal(inner.bound.begin(), inner.bound.end(), outer.bound.begin(),
                      [](double a, double b) { return a <= b * (1 + 0x1p-40); });
  };
  for (std::size_t p = 0; p < any.gradients.size(); ++p) {
    RC_ASSERT(canonical.gradients[p].value == any.gradients[p].value);
    RC_ASSERT(nested(canonical.gradients[p], leaves.gradients[p]));
    RC_ASSERT(nested(leaves.gradients[p], any.gradients[p]));
  }
  RC_ASSERT(nested(canonical.loss, leaves.loss));
  RC_ASSERT(nested(leaves.loss, any.loss));
}

// -------------------------------------------------------------------- the bound has teeth

/// A right float32 step of a middling recipe, to spoil.
class BoundTeeth : public testing::Test {
 protected:
  static Recipe recipe() {
    Recipe recipe;
    recipe.context = 4;
    recipe.embedding = 6;
    recipe.hidden = 24;
    recipe.layers = 2;
    recipe.batch = 16;
    recipe.batch_grain = 4;
    recipe.feature_grain = 8;
    recipe.vocab_grain = 8;
    return recipe;
  }

  /// End to end and the update: a step is judged from the right values, whatever it made of them.
  std::string judged(ComputedStep actual) const {
    Judgement unused;
    actual.step.values = drawn_.values;
    actual.step.boundary_values.clear();
    return outside(drawn_, actual, unused);
  }
  /// What would be computed from other values, or on another batch.
  ComputedStep computed(const FloatTensors& values, const Batch& batch) const {
    return literal_step({drawn_.recipe, drawn_.model, values, batch}, library_functions());
  }

  const StepCase drawn_ = drawn_case(recipe(), 27, 0.5);
  const ComputedStep right_ = computed(drawn_.values, drawn_.batch);
};

TEST_F(BoundTeeth, TheRightStepPasses) { EXPECT_EQ(judged(right_), ""); }

TEST_F(BoundTeeth, OneElementOffByTwoToTheMinus13) {
  for (const ParameterSpec& spec : drawn_.model.parameters) {
    ComputedStep wrong = right_;
    std::vector<float>& gradient = wrong.step.gradients.at(spec.name);
    const auto largest = std::ranges::max_element(
        gradient, [](float a, float b) { return std::abs(a) < std::abs(b); });
    *largest *= 1 + 0x1p-13F;
    const std::string at =
        "grad/" + spec.name + "[" + std::to_string(largest - gradient.begin()) + "]";
    EXPECT_NE(judged(wrong).find(at), std::string::npos) << at << ": " << judged(wrong);
  }
}

TEST_F(BoundTeeth, AScaleOfOneOverBatchTooOftenOrNever) {
  for (const float factor : {16.0F, 1 / 16.0F}) {
    for (const ParameterSpec& spec : drawn_.model.parameters) {
      ComputedStep wrong = right_;
      for (float& g : wrong.step.gradients.at(spec.name)) g *= factor;
      EXPECT_NE(judged(wrong).find("grad/" + spec.name), std::string::npos);
    }
    ComputedStep wrong = right_;
    wrong.step.loss *= factor;
    EXPECT_NE(judged(wrong).find("loss"), std::string::npos);
  }
}

TEST_F(BoundTeeth, ADroppedBias) {
  for (const std::string name : {"hidden.0.bias", "hidden.1.bias", "output.bias"}) {
    FloatTensors values = drawn_.values;
    std::ranges::fill(values.at(name), 0.0F);
    EXPECT_NE(judged(computed(values, drawn_.batch)).find("loss"), std::string::npos) << name;
  }
}

TEST_F(BoundTeeth, OneHiddenUnitLeftOut) {
  // As a row-split layer whose last leaf is forgotten would compute.
  FloatTensors values = drawn_.values;
  auto& weight = values.at("output.weight");
  std::fill(weight.end() - 27, weight.end(), 0.0F);
  EXPECT_NE(judged(computed(values, drawn_.batch)).find("loss"), std::string::npos);
}

TEST_F(BoundTeeth, AMeanOfMeansOverUnevenParts) {
  // 16 samples as 12 + 4, each part's mean weighted alike.
  ComputedStep wrong = right_;
  const auto part = [&](std::size_t begin, std::size_t end) {
    const auto at = [](auto& list, std::size_t i) {
      return list.begin() + static_cast<std::ptrdiff_t>(i);
    };
    const std::size_t context = drawn_.recipe.context;
    return computed(
        drawn_.values,
        {{at(drawn_.batch.tokens, begin * context), at(drawn_.batch.tokens, end * context)},
         {at(drawn_.batch.targets, begin), at(drawn_.batch.targets, end)}});
  };
  const ComputedStep first = part(0, 12);
  const ComputedStep second = part(12, 16);
  for (auto& [name, gradient] : wrong.step.gradients) {
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = 0.5F * (first.step.gradients.at(name)[i] + second.step.gradients.at(name)[i]);
    }
  }
  EXPECT_NE(judged(wrong).find("step 0, grad/embedding.weight"), std::string::npos);
}

TEST_F(BoundTeeth, AnUpdateLostOrUphill) {
  for (const ParameterSpec& spec : drawn_.model.parameters) {
    ComputedStep lost = right_;
    lost.updated.values.at(spec.name) = drawn_.values.at(spec.name);
    EXPECT_NE(judged(lost).find("step 0, param/" + spec.name), std::string::npos);
    ComputedStep uphill = right_;
    for (std::size_t i = 0; i < spec.size(); ++i) {
      uphill.updated.values.at(spec.name)[i] =
          drawn_.values.at(spec.name)[i] +
          static_cast<float>(drawn_.recipe.lr) * right_.step.gradients.at(spec.name)[i];
    }
    EXPECT_NE(judged(uphill).find("step 0, param/" + spec.name), std::string::npos);
  }
}

TEST(Bound, PaysForAKinkAndNoMore) {
  // The only hidden unit's input is exactly 1/4 * 1 - 1/4 = 0: rounding decides the mask, so the
  // whole gradient through it is in doubt; the output layer's is not.
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 1;
  StepCase drawn = drawn_case(recipe, 2, 1.0);
  drawn.values = {{"embedding.weight", {0.25F, 0.25F}},
                  {"hidden.0.weight", {1}},
                  {"hidden.0.bias", {-0.25F}},
                  {"output.weight", {1, -1}},
                  {"output.bias", {0.5F, 0}}};
  drawn.batch = {{0}, {1}};
  const OracleStep oracle = oracle_of(drawn);
  const Bounded& hidden_bias = oracle.gradients[2];
  EXPECT_EQ(hidden_bias.value[0], 0);
  const double through = 2 / (1 + std::exp(-0.5));  // p_0 * (1) + (p_1 - 1) * (-1)
  EXPECT_GE(hidden_bias.bound[0], through);
  EXPECT_LT(hidden_bias.bound[0], through + 0x1p-16);
  for (const double bound : oracle.gradients[4].bound) EXPECT_LT(bound, 0x1p-16);

  drawn.values["hidden.0.bias"][0] = -0.25F - 0x1p-20F;  // off the kink, nothing is in doubt
  EXPECT_LT(oracle_of(drawn).gradients[2].bound[0], 0x1p-140);
}

TEST(Bound, RefusesWhatMakesNoSense) {
  const std::vector<float> two(2, 1.0F);
  const std::vector<float> three(3, 1.0F);
  EXPECT_THROW(bounded_sum(two, 0, SumOrder::canonical), std::invalid_argument);
  EXPECT_THROW(bounded_dot(two, three, 1, SumOrder::canonical), std::invalid_argument);
  const std::vector<float> endless(std::size_t{1} << 23, 1.0F);
  EXPECT_THROW(bounded_sum(endless, endless.size(), SumOrder::canonical), std::overflow_error);
}

TEST(ReferenceStep, RefusesWhatDoesNotFit) {
  Recipe recipe;
  recipe.context = recipe.embedding = recipe.hidden = recipe.batch = 2;
  const StepCase drawn = drawn_case(recipe, 3, 1.0);
  const auto refuses = [&](const auto& spoil) {
    StepCase bad = drawn;
    spoil(bad);
    EXPECT_THROW(literal_step(bad, library_functions()), std::invalid_argument);
  };
  refuses([](StepCase& c) { c.values.erase("output.bias"); });
  refuses([](StepCase& c) { c.values.at("hidden.0.weight").pop_back(); });
  refuses([](StepCase& c) { c.batch.tokens[0] = 3; });
  refuses([](StepCase& c) { c.batch.tokens.pop_back(); });
}

}  // namespace
}  // namespace meshparity
