// The literal arithmetic of a transformer against small computations by hand.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "model/optimizer.h"
#include "oracle/batch_rows.h"
#include "oracle/literal.h"
#include "property_tests/oracle/gpt2_cases.h"

namespace meshparity {
namespace {

Floats floats(std::size_t rows, std::size_t columns, std::vector<float> values) {
  Floats result(rows, columns);
  EXPECT_EQ(values.size(), rows * columns);
  result.values = std::move(values);
  return result;
}

/// A batch of whole samples, with tokens and targets that nobody looks at.
struct SomeRows {
  SomeRows(std::size_t samples, RowLeaves leaves)
      : tokens(samples * leaves.positions), targets(samples * leaves.positions) {
    batch = {
        .seed = 7, .slots = {0, samples}, .leaves = leaves, .tokens = tokens, .targets = targets};
  }
  std::vector<Token> tokens;
  std::vector<Token> targets;
  MicroBatch batch;
  ElementaryFunctions functions = library_functions();
};

SelfAttentionSpec heads(std::size_t count) {
  SelfAttentionSpec spec;
  spec.heads = count;
  return spec;
}

TEST(Literal, NormalizesARow) {
  const SomeRows some(1, {});
  const Literal literal(some.batch, some.functions);
  // Mean 3, variance 5.
  const auto [n, inverse] = literal.normalize(floats(1, 4, {0, 2, 4, 6}));
  const float r = 1.0F / std::sqrt(5.0F + 1e-5F);
  EXPECT_EQ(inverse.values, std::vector<float>({r}));
  EXPECT_EQ(n.values, std::vector<float>({-3 * r, -1 * r, 1 * r, 3 * r}));
  // Two roundings: the square of 1 + 2^-12 loses its last bit before 1 is subtracted.
  const Floats above = floats(1, 1, {1 + 0x1p-12F});
  EXPECT_EQ(literal.scale_shift(above, above, floats(1, 1, {-1})).values[0], 0x1p-11F);
  EXPECT_EQ(std::fma(above.values[0], above.values[0], -1.0F), 0x1p-11F + 0x1p-24F);
}

TEST(Literal, TheGradientOfANormalizedRow) {
  const SomeRows some(1, {});
  const Literal literal(some.batch, some.functions);
  // n = (1, -1), 1 / deviation 2, dn = (3, 1): mean 2, mean of dn n 1.
  const Floats dx =
      literal.normalize_gradient(floats(1, 2, {3, 1}), floats(1, 2, {1, -1}), floats(1, 1, {2}));
  EXPECT_EQ(dx.values, std::vector<float>({0, 0}));
  const Floats other =
      literal.normalize_gradient(floats(1, 2, {3, 1}), floats(1, 2, {0.5F, -1}), floats(1, 1, {2}));
  // Mean of dn n (1.5 - 1) / 2 = 0.25.
  EXPECT_EQ(other.values, std::vector<float>({(1 - 0.125F) * 2, (-1 + 0.25F) * 2}));
}

TEST(Literal, AttendsToTheRowsBefore) {
  const SomeRows some(1, {.positions = 2});
  const Literal literal(some.batch, some.functions);
  const SelfAttentionSpec spec = heads(1);
  // Columns are query, key, value of one head of one feature. The second row's scores are
  // 2 * 1 and 2 * 0.5.
  const Floats qkv = floats(2, 3, {5, 1, 8, 2, 0.5F, -4});
  const float e = some.functions.exp(-1);
  const float total = 1 + e;
  const Floats o = literal.attention(qkv, spec);
  EXPECT_EQ(o.values, std::vector<float>({8, std::fma(e, -4.0F, 8.0F) / total}));

  const Floats d = literal.attention_gradient(qkv, o, floats(2, 1, {1, 3}), spec);
  const float p0 = 1 / total;
  const float p1 = e / total;
  const float along = 3 * o(1, 0);
  const float ds0 = p0 * (3 * 8 - along);
  const float ds1 = p1 * (3 * -4 - along);
  // The first row has one probability, 1, whose score cannot matter.
  EXPECT_EQ(d(0, 0), 0);
  EXPECT_EQ(d(0, 1), ds0 * 2);
  EXPECT_EQ(d(0, 2), std::fma(p0, 3.0F, 1.0F));
  EXPECT_EQ(d(1, 0), std::fma(ds1, 0.5F, ds0));
  EXPECT_EQ(d(1, 1), ds1 * 2);
  EXPECT_EQ(d(1, 2), p1 * 3);
}

TEST(Literal, ScalesScoresAndKeepsHeadsApart) {
  const SomeRows some(1, {.positions = 1});
  const Literal literal(some.batch, some.functions);
  // One row sees itself alone: it gives its values, head by head.
  const Floats qkv = floats(1, 12, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  EXPECT_EQ(literal.attention(qkv, heads(2)).values, std::vector<float>({5, 6, 11, 12}));
  EXPECT_EQ(literal.attention(qkv, heads(1)).values, std::vector<float>({9, 10, 11, 12}));

  // Four features: the scale is 1/2, so scores of 2 and 0 make a difference of 1.
  const SomeRows two(1, {.positions = 2});
  const Literal of_two(two.batch, two.functions);
  Floats scored(2, 12);
  scored(1, 0) = 1;  // query
  scored(0, 4) = 2;  // key of the first row
  scored(0, 8) = 1;  // its value
  const float e = two.functions.exp(-1);
  EXPECT_EQ(of_two.attention(scored, heads(1))(1, 0), 1 / (1 + e));
}

TEST(Literal, NothingBehindTheMaskMatters) {
  const SomeRows some(1, {.positions = 3, .parts = 2});
  const Literal literal(some.batch, some.functions);
  Floats qkv = floats(3, 3, {5, 1, 8, 2, 0.5F, -4, 1, 1, 1});
  const Floats before = literal.attention(qkv, heads(1));
  for (std::size_t j = 0; j < 3; ++j) qkv(2, j) = INFINITY;
  const Floats after = literal.attention(qkv, heads(1));
  EXPECT_EQ(before(0, 0), after(0, 0));
  EXPECT_EQ(before(1, 0), after(1, 0));
}

TEST(Literal, SumsOverRowsHaveTheLeavesOfTheBatch) {
  // Positions {0, 1}, {2} are the parts of a sample; 1, 2^-24, 2^-24 shows which are added first.
  const float tiny = 0x1p-24F;
  const auto sum = [&](RowLeaves leaves) {
    const SomeRows some(1, leaves);
    const Literal literal(some.batch, some.functions);
    return literal.sum(floats(3, 1, {tiny, tiny, 1})).values[0];
  };
  EXPECT_EQ(sum({.positions = 3}), 1 + 2 * tiny);
  EXPECT_EQ(sum({.positions = 3, .parts = 2}), 1 + 2 * tiny);
  const auto late = [&](RowLeaves leaves) {
    const SomeRows some(1, leaves);
    const Literal literal(some.batch, some.functions);
    return literal.sum(floats(4, 1, {1, 0, tiny, tiny})).values[0];
  };
  EXPECT_EQ(late({.positions = 4}), 1);
  EXPECT_EQ(late({.positions = 4, .parts = 2}), 1 + 2 * tiny);
  EXPECT_EQ(late({.positions = 4, .parts = 4}), 1 + 2 * tiny);
}

TEST(Literal, LeavesMayBeEmpty) {
  const SomeRows some(2, {.positions = 5, .parts = 4});
  const std::vector<Range> expected{{0, 2}, {2, 4}, {4, 5},  {5, 5},
                                    {5, 7}, {7, 9}, {9, 10}, {10, 10}};
  EXPECT_EQ(equations::leaves_of(some.batch), expected);
  const SomeRows whole(3, {.positions = 5, .samples = 2});
  EXPECT_EQ(equations::leaves_of(whole.batch), (std::vector<Range>{{0, 10}, {10, 15}}));
  // A prompt of 3 of 8 positions keeps the parts of 8; past them is the last part's.
  EXPECT_EQ(equations::parts_of({.positions = 3, .parts = 4, .sequence = 8}),
            (std::vector<Range>{{0, 2}, {2, 3}, {3, 3}, {3, 3}}));
  EXPECT_EQ(equations::parts_of({.positions = 9, .parts = 2, .sequence = 8}),
            (std::vector<Range>{{0, 4}, {4, 9}}));
}

TEST(Literal, DropsByCoordinates) {
  const SomeRows some(2, {.positions = 3});
  const Literal literal(some.batch, some.functions);
  const DropoutSpec spec{.probability = 0.25, .place = 9};
  const std::vector<float> ones(6 * 50, 1);
  const Floats dropped = literal.dropout(floats(6, 50, ones), spec);
  std::size_t kept = 0;
  for (const float x : dropped.values) {
    EXPECT_TRUE(x == 0.0F || x == static_cast<float>(1 / 0.75)) << x;
    if (x != 0) ++kept;
  }
  EXPECT_NEAR(static_cast<double>(kept), 225, 30);
  // A microbatch draws what the whole batch draws.
  SomeRows second(1, {.positions = 3});
  second.batch.slots = {1, 2};
  const Floats part = Literal(second.batch, second.functions)
                          .dropout(floats(3, 50, std::vector<float>(150, 1)), spec);
  EXPECT_TRUE(std::equal(part.values.begin(), part.values.end(), dropped.values.begin() + 150));
  // Another place, step or seed draws other numbers; nothing is dropped without training.
  EXPECT_NE(literal.dropout(floats(6, 50, ones), {.probability = 0.25, .place = 10}).values,
            dropped.values);
  second.batch.step = 1;
  EXPECT_NE(Literal(second.batch, second.functions)
                .dropout(floats(3, 50, std::vector<float>(150, 1)), spec)
                .values,
            part.values);
  second.batch.training = false;
  EXPECT_EQ(Literal(second.batch, second.functions)
                .dropout(floats(3, 50, std::vector<float>(150, 1)), spec)
                .values,
            std::vector<float>(150, 1));
  second.batch.training = true;
  second.batch.step = std::uint64_t{1} << 32;
  EXPECT_THROW((void)Literal(second.batch, second.functions)
                   .dropout(floats(3, 50, std::vector<float>(150, 1)), spec),
               std::invalid_argument);
}

TEST(Literal, AStepOfAdamW) {
  Recipe recipe = small_gpt2_recipe();
  recipe.beta1 = 0.5;
  recipe.beta2 = 0.75;
  recipe.lr = 0.25;
  recipe.weight_decay = 0.5;
  recipe.epsilon = 0.5;
  recipe.clip = 1;
  Model model;
  model.parameters.resize(2);
  model.parameters[0].name = "w";
  model.parameters[0].decays = true;
  model.parameters[1].name = "b";
  Recording::Step step;
  step.values = {{"w", {8}}, {"b", {8}}};
  step.gradients = {{"w", {3}}, {"b", {4}}};  // of norm 5: the factor is 0.2
  const TrainedState one = reference_update(model, step, recipe, 0);
  const float g = 0.2F * 3;
  EXPECT_EQ(one.first_moments.at("w")[0], 0.5F * g);
  EXPECT_EQ(one.second_moments.at("w")[0], 0.25F * g * g);
  // The first step's corrections make m of g and v of g^2.
  const auto corrected = [](float m, float v) { return m / (std::sqrt(v) * 2 + 0.5F); };
  const auto update = [&](float w, const std::string& name) {
    return std::fma(-0.5F, corrected(one.first_moments.at(name)[0], one.second_moments.at(name)[0]),
                    w);
  };
  EXPECT_EQ(one.values.at("w")[0], update(8 - 0.125F * 8, "w"));
  EXPECT_EQ(one.values.at("b")[0], update(8, "b"));

  step.values = one.values;
  step.first_moments = one.first_moments;
  step.second_moments = one.second_moments;
  const TrainedState two = reference_update(model, step, recipe, 1);
  const float m = std::fma(0.5F, 0.5F * g, 0.5F * g);
  const float v = std::fma(0.75F, 0.25F * g * g, 0.25F * g * g);
  EXPECT_EQ(two.first_moments.at("w")[0], m);
  EXPECT_EQ(two.second_moments.at("w")[0], v);
  const auto root = static_cast<float>(1 / std::sqrt(1 - 0.75 * 0.75));
  const float w = std::fma(-0.125F, one.values.at("w")[0], one.values.at("w")[0]);
  EXPECT_EQ(two.values.at("w")[0],
            std::fma(-static_cast<float>(0.25 / 0.75), m / (std::sqrt(v) * root + 0.5F), w));
}

TEST(Literal, SchedulesRiseAndFall) {
  Recipe recipe = small_gpt2_recipe();
  recipe.steps = 30;
  recipe.warmup = 10;
  recipe.lr = 1;
  recipe.min_lr = 0.5;
  for (const LrDecay decay : {LrDecay::constant, LrDecay::linear, LrDecay::cosine, LrDecay::wsd}) {
    recipe.decay = decay;
    EXPECT_EQ(scheduled_lr(recipe, 0), 0.1);
    EXPECT_EQ(scheduled_lr(recipe, 9), 1);
    EXPECT_EQ(scheduled_lr(recipe, 10), 1);
  }
  recipe.decay = LrDecay::linear;
  EXPECT_EQ(scheduled_lr(recipe, 20), 0.75);
  EXPECT_EQ(scheduled_lr(recipe, 25), 0.625);
  recipe.decay = LrDecay::cosine;
  EXPECT_NEAR(scheduled_lr(recipe, 20), 0.75, 1e-15);
  EXPECT_NEAR(scheduled_lr(recipe, 15), 0.5 + (1 + std::sqrt(0.5)) / 4, 1e-15);
  recipe.decay = LrDecay::wsd;
  EXPECT_EQ(scheduled_lr(recipe, 26), 1);
  EXPECT_EQ(scheduled_lr(recipe, 27), 1);
  EXPECT_NEAR(scheduled_lr(recipe, 28), 1 - 0.5 / 3, 1e-15);
}

TEST(Literal, TheModelsSchedulesAreTheTranscriptions) {
  Recipe recipe = small_gpt2_recipe();
  recipe.lr = 1;
  recipe.min_lr = 0.25;
  for (const LrDecay decay : {LrDecay::constant, LrDecay::linear, LrDecay::cosine, LrDecay::wsd}) {
    recipe.decay = decay;
    for (recipe.steps = 1; recipe.steps <= 45; ++recipe.steps) {
      for (recipe.warmup = 0; recipe.warmup < recipe.steps; recipe.warmup += 3) {
        for (std::size_t step = 0; step < recipe.steps; ++step) {
          // Both in binary64: a few roundings apart.
          EXPECT_NEAR(learning_rate(recipe, step), scheduled_lr(recipe, step), 1e-14)
              << "step " << step << " of " << recipe.steps;
        }
      }
    }
  }
}

}  // namespace
}  // namespace meshparity
