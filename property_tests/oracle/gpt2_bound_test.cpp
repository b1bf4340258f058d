// The oracle's bounds on a transformer: the literal transcription stays inside, end to end and
// block by block, and planted mistakes do not.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "oracle/literal.h"
#include "property_tests/oracle/gpt2_cases.h"

namespace meshparity {
namespace {

/// The ratios by what was judged, the layers' together.
void print_ratios(const std::string& title, const Judgement& judgement) {
  print(title, judgement);
  for (const auto& [name, ratio] : judgement.ratios) {
    std::cout << "  " << name << " " << ratio << '\n';
  }
}

TEST(Gpt2Bound, HoldsForTheLiteralStep) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("a literal step is within the bounds", [&] {
    const StepCase drawn = random_gpt2_case(2);
    const ComputedStep actual = literal_step(drawn, careless_functions());
    const std::string found = outside(drawn, actual, ratios, drawn.step);
    if (!found.empty()) RC_FAIL(found);
  }));
  print_ratios("transformers, canonical order", ratios);
}

TEST(Gpt2Bound, HoldsForLeavesAndTermsInAnyOrder) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("the canonical order is one of any", [&] {
    const StepCase drawn = random_gpt2_case(1);
    const ComputedStep actual = literal_step(drawn, careless_functions());
    for (const SumOrder order : {SumOrder::leaves, SumOrder::any}) {
      const std::string found = outside(drawn, actual, ratios, drawn.step, order);
      if (!found.empty()) RC_FAIL(found);
    }
  }));
  print("transformers, any order", ratios);
}

Recipe middling_recipe(std::size_t layers, std::size_t sequence) {
  Recipe recipe = small_gpt2_recipe();
  recipe.layers = layers;
  recipe.heads = 4;
  recipe.channels = 16;
  recipe.positions = sequence;
  recipe.sequence = 0;
  return recipe;
}

TEST(Gpt2Bound, BoundsBlocksAloneSharplyAtEveryDepth) {
  for (const std::size_t layers : {1, 3}) {
    Judgement ratios;
    Recipe recipe = middling_recipe(layers, 6);
    for (recipe.seed = 1; recipe.seed <= 4; ++recipe.seed) {
      const StepCase drawn = drawn_gpt2_case(recipe, 11, 0.3);
      const ComputedStep actual = literal_step(drawn, library_functions());
      const MicroBatch batch = drawn.whole_batch();
      ratios.add(judge_blocks({drawn.model, batch, actual.step}));
    }
    EXPECT_FALSE(ratios.first_difference) << *ratios.first_difference;
    std::cout << "blocks alone, " << layers << " layers: " << ratios.bluntest()->second << " ("
              << ratios.bluntest()->first << ") to " << ratios.worst()->second << " ("
              << ratios.worst()->first << ")\n";
    // The gradients of attention's layer norm add up what left attention as bounds, without signs,
    // over 3 C columns and all rows.
    for (const auto& [name, ratio] : ratios.ratios) {
      const bool adds_bounds =
          name.find("grad/") != std::string::npos && name.find(".ln_1.") != std::string::npos;
      EXPECT_GT(ratio, adds_bounds ? 1e-4 : 1e-3) << name;
    }
  }
}

/// End to end, errors leave attention as bounds, each layer more pessimistic than the last. What a
/// bound must be to say anything is far below the gradient itself.
TEST(Gpt2Bound, IsFarBelowTheGradientsOfAWholeStep) {
  for (const std::size_t layers : {1, 2, 3}) {
    for (const std::size_t sequence : {4, 16}) {
      const StepCase drawn = drawn_gpt2_case(middling_recipe(layers, sequence), 11, 0.3);
      const OracleStep step = oracle_of(drawn);
      double widest = 0;  // largest bound / largest element
      std::string where;
      for (std::size_t p = 0; p < step.gradients.size(); ++p) {
        double gradient = 0;
        for (const double g : step.gradients[p].value) gradient = std::max(gradient, std::abs(g));
        const double width = std::ranges::max(step.gradients[p].bound) / gradient;
        if (width > widest) where = drawn.model.parameters[p].name;
        widest = std::max(widest, width);
      }
      std::cout << "end to end, " << layers << " layers, sequence " << sequence
                << ": widest bound/gradient " << widest << " (" << where << "), loss "
                << step.loss.bound[0] / step.loss.value[0] << '\n';
      if (layers == 1) {
        EXPECT_LT(widest, 0.1);
      }
      EXPECT_LT(step.loss.bound[0], 1e-3 * step.loss.value[0]);
    }
  }
}

// -------- mistakes

enum class Mistake {
  none,
  scale,
  bias,
  mask,
  dropout,
  epsilon,
  gelu,
  gain_rows,
  value_gradient,
  residual_gradient,
};

/// Literal with one mistake.
class Mistaken : public Literal {
 public:
  Mistaken(const MicroBatch& batch, const ElementaryFunctions& functions, Mistake mistake)
      : Literal(batch, functions), batch_(batch), mistake_(mistake) {}

  Floats affine(const Floats& x, const Floats& weight, Floats bias, std::size_t grain) const {
    if (mistake_ == Mistake::bias) bias.values.assign(bias.values.size(), 0.0F);
    return Literal::affine(x, weight, bias, grain);
  }
  Floats attention(Floats qkv, const SelfAttentionSpec& spec) const {
    const std::size_t size = qkv.columns / 3 / spec.heads;
    const std::size_t positions = batch_.leaves.positions;
    for (std::size_t row = qkv.rows; row-- > 0;) {
      for (std::size_t j = 0; j < qkv.columns; ++j) {
        if (j / size % 3 != 0) continue;  // queries
        if (mistake_ == Mistake::scale) qkv(row, j) *= 1.5F;
        if (mistake_ == Mistake::mask && row % positions > 0) qkv(row, j) = qkv(row - 1, j);
      }
    }
    const Floats right = Literal::attention(qkv, spec);
    if (mistake_ != Mistake::mask) return right;
    Floats wrong = right;  // row t sees row t + 1
    for (std::size_t row = 0; row + 1 < qkv.rows; ++row) {
      if ((row + 1) % positions == 0) continue;
      for (std::size_t j = 0; j < right.columns; ++j) wrong(row, j) = right(row + 1, j);
    }
    return wrong;
  }
  Floats attention_gradient(const Floats& qkv, const Floats& output, const Floats& d_output,
                            const SelfAttentionSpec& spec) const {
    Floats result = Literal::attention_gradient(qkv, output, d_output, spec);
    if (mistake_ == Mistake::value_gradient) result(0, qkv.columns - 1) = 0;
    return result;
  }
  Floats dropout(const Floats& x, const DropoutSpec& spec) const {
    Floats result = Literal::dropout(x, spec);
    if (mistake_ != Mistake::dropout) return result;
    for (float& y : result.values) y *= static_cast<float>(1 - spec.probability);
    return result;
  }
  std::pair<Floats, Floats> normalize(const Floats& x) const {
    auto [n, inverse] = Literal::normalize(x);
    if (mistake_ != Mistake::epsilon) return {n, inverse};
    for (std::size_t b = 0; b < n.rows; ++b) {
      const double root = 1 / static_cast<double>(inverse(b, 0));
      const auto larger = static_cast<float>(root / std::sqrt(root * root - 1e-5));
      inverse(b, 0) *= larger;
      for (std::size_t j = 0; j < n.columns; ++j) n(b, j) *= larger;
    }
    return {n, inverse};
  }
  /// With the error function instead of tanh.
  Floats gelu(const Floats& x) const {
    Floats result = Literal::gelu(x);
    if (mistake_ != Mistake::gelu) return result;
    for (std::size_t i = 0; i < result.values.size(); ++i) {
      const double z = static_cast<double>(x.values[i]);
      result.values[i] = static_cast<float>(z * std::erfc(-z / std::sqrt(2.0)) / 2);
    }
    return result;
  }
  Floats column_products(Floats dy, const Floats& n) const {
    if (mistake_ == Mistake::gain_rows) {
      for (std::size_t b = dy.rows / 2; b < dy.rows; ++b) {
        for (std::size_t j = 0; j < dy.columns; ++j) dy(b, j) = 0;
      }
    }
    return Literal::column_products(dy, n);
  }
  Floats normalize_gradient(const Floats& dn, const Floats& n, const Floats& inverse) const {
    Floats dx = Literal::normalize_gradient(dn, n, inverse);
    if (mistake_ == Mistake::residual_gradient) dx = Literal::add(dx, dx);
    return dx;
  }

 private:
  const MicroBatch& batch_;
  Mistake mistake_;
};

Recording::Step mistaken_step(const StepCase& drawn, Mistake mistake) {
  const MicroBatch batch = drawn.whole_batch();
  const ElementaryFunctions functions = library_functions();
  std::vector<Floats> parameters;
  for (const ParameterSpec& spec : drawn.model.parameters) {
    parameters.emplace_back(spec.rows, spec.columns).values = drawn.values.at(spec.name);
  }
  Mistaken arithmetic(batch, functions, mistake);
  const auto step = equations::step(arithmetic, drawn.model, parameters);
  Recording::Step result;
  result.loss = step.loss.values[0];
  result.values = drawn.values;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    result.gradients[drawn.model.parameters[p].name] = step.parameters[p].values;
  }
  for (const Floats& rows : step.pass.values) result.boundary_values.push_back(rows.values);
  for (const Floats& rows : step.gradients) result.boundary_gradients.push_back(rows.values);
  return result;
}

class Gpt2Teeth : public testing::Test {
 protected:
  StepUnderTest test(const Recording::Step& step) const { return {drawn_.model, batch_, step, 4}; }

  static StepCase drawn() {
    StepCase drawn = drawn_gpt2_case(middling_recipe(1, 5), 7, 0.3);
    drawn.step = 4;
    return drawn;
  }
  const StepCase drawn_ = drawn();
  const MicroBatch batch_ = drawn_.whole_batch();
};

TEST_F(Gpt2Teeth, MistakesAreRefusedWhereTheyAreMade) {
  const auto refused = [&](Mistake mistake, const std::string& where, bool end_to_end = true) {
    const Recording::Step step = mistaken_step(drawn_, mistake);
    const std::string found = judge_blocks(test(step)).first_difference.value_or("nothing");
    EXPECT_NE(found.find(where), std::string::npos) << static_cast<int>(mistake) << ": " << found;
    EXPECT_EQ(judge_end_to_end(test(step)).first_difference.has_value(), end_to_end)
        << static_cast<int>(mistake);
  };
  refused(Mistake::none, "nothing", false);
  refused(Mistake::scale, "h.0.attn output");
  refused(Mistake::bias, "h.0.attn output");
  refused(Mistake::mask, "h.0.attn output");
  refused(Mistake::dropout, "embedding output");
  refused(Mistake::epsilon, "h.0.attn output");
  refused(Mistake::gelu, "h.0.mlp output");
  refused(Mistake::gain_rows, "grad/h.0.ln_1.weight");
  refused(Mistake::value_gradient, "h.0.attn input gradient");
  refused(Mistake::residual_gradient, "logits input gradient");
}

TEST_F(Gpt2Teeth, ATiedGradientWithOneUseMissing) {
  StepCase apart = drawn_;
  apart.recipe.tied = false;
  apart.model = drawn_gpt2_case(apart.recipe, 7, 0.3).model;
  apart.values["lm_head.weight"] = apart.values.at("wte.weight");
  const Recording::Step uses = literal_step(apart, library_functions()).step;
  const Recording::Step right = literal_step(drawn_, library_functions()).step;
  EXPECT_FALSE(judge_blocks(test(right)).first_difference);
  for (const std::string use : {"wte.weight", "lm_head.weight"}) {
    Recording::Step wrong = right;
    wrong.gradients.at("wte.weight") = uses.gradients.at(use);
    EXPECT_NE(judge_blocks(test(wrong))
                  .first_difference.value_or("")
                  .find("step 4, embedding+logits grad/wte.weight"),
              std::string::npos);
    EXPECT_NE(judge_end_to_end(test(wrong)).first_difference.value_or("").find("grad/wte.weight"),
              std::string::npos);
  }
}

TEST_F(Gpt2Teeth, WrongUpdates) {
  const ComputedStep right = literal_step(drawn_, library_functions());
  const auto found = [&](const Model& model, const Recipe& recipe, std::size_t number) {
    const TrainedState state = reference_update(model, right.step, recipe, number);
    return judge_update(test(right.step), state, drawn_.recipe).first_difference.value_or("");
  };
  const auto names = [](const std::string& text, const std::string& what) {
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  EXPECT_EQ(found(drawn_.model, drawn_.recipe, 4), "");
  names(found(drawn_.model, drawn_.recipe, 5), "param/wte.weight");
  Model all_decay = drawn_.model;
  for (ParameterSpec& spec : all_decay.parameters) spec.decays = true;
  names(found(all_decay, drawn_.recipe, 4), "param/h.0.ln_1.weight");
  Recipe recipe = drawn_.recipe;
  recipe.clip = 0;
  names(found(drawn_.model, recipe, 4), "first_moment/wte.weight");
  recipe = drawn_.recipe;
  recipe.beta2 = 0.99;
  names(found(drawn_.model, recipe, 4), "second_moment/wte.weight");
  recipe = drawn_.recipe;
  recipe.epsilon *= 2;
  EXPECT_EQ(static_cast<float>(recipe.epsilon), 2e-8F);  // too small to be seen beside sqrt(v)
  recipe.epsilon = 1e-4;
  names(found(drawn_.model, recipe, 4), "param/wte.weight");
  recipe = drawn_.recipe;
  recipe.decay = LrDecay::linear;
  names(found(drawn_.model, recipe, 4), "param/wte.weight");

  TrainedState stale = right.updated;
  stale.first_moments = right.step.first_moments;
  names(judge_update(test(right.step), stale, drawn_.recipe).first_difference.value_or(""),
        "first_moment/wte.weight");
  stale.first_moments.clear();
  EXPECT_THROW(judge_update(test(right.step), stale, drawn_.recipe), std::invalid_argument);
}

TEST(Gpt2Refusals, WhatDoesNotFit) {
  const StepCase drawn = drawn_gpt2_case(small_gpt2_recipe(), 5, 0.5);
  const auto refuses = [&](const auto& spoil) {
    StepCase bad = drawn;
    const Tensors tensors = widened(bad.model, bad.values);
    MicroBatch batch = bad.whole_batch();
    spoil(bad.model, batch);
    EXPECT_THROW(oracle_step(bad.model, tensors, batch), std::invalid_argument);
  };
  refuses([](Model&, MicroBatch& b) { b.leaves.positions = 4; });
  refuses([](Model&, MicroBatch& b) { b.leaves.parts = 3; });
  refuses([](Model&, MicroBatch& b) { b.leaves = {.positions = 5, .samples = 2, .parts = 2}; });
  refuses([](Model& m, MicroBatch&) { m.parameters[1].rows = 4; });
  refuses([](Model& m, MicroBatch&) { m.blocks[1].uses.pop_back(); });
  refuses([](Model& m, MicroBatch&) { std::swap(m.blocks[1].uses[2], m.blocks[1].uses[4]); });
  refuses([](Model& m, MicroBatch&) { std::get<SelfAttentionSpec>(m.blocks[1].kind).heads = 4; });
  refuses([](Model& m, MicroBatch&) {
    std::get<GeluFeedForwardSpec>(m.blocks[2].kind).output.probability = 1;
  });
  refuses(
      [](Model& m, MicroBatch&) { std::get<LogitsSpec>(m.blocks.back().kind).vocab_grain = 0; });
}

}  // namespace
}  // namespace meshparity
