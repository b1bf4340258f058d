#include "property_tests/oracle/gpt2_cases.h"

#include <rapidcheck.h>

#include <random>

#include "model/gpt2.h"

namespace meshparity {

Recipe small_gpt2_recipe() {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.layers = 2;
  recipe.heads = 2;
  recipe.channels = 6;
  recipe.positions = 7;
  recipe.sequence = 5;
  recipe.batch = 3;
  recipe.steps = 20;
  recipe.dropout = 0.25;
  recipe.weight_decay = 0.1;
  recipe.clip = 0.5;
  recipe.seed = 11;
  return recipe;
}

Recipe random_gpt2_recipe(std::size_t most_layers) {
  const auto below = [](std::size_t end) { return *rc::gen::inRange<std::size_t>(1, end); };
  Recipe recipe = default_recipe(ModelKind::gpt2);
  recipe.layers = below(most_layers + 1);
  recipe.heads = below(4);
  recipe.channels = recipe.heads * below(6);
  recipe.positions = below(12);
  recipe.sequence = below(recipe.positions + 1);
  recipe.tied = *rc::gen::arbitrary<bool>();
  recipe.dropout = *rc::gen::element(0.0, 0.1, 0.5);
  recipe.batch = below(5);
  recipe.batch_grain = below(4);
  if (*rc::gen::inRange(0, 2) == 0) {
    recipe.batch_grain = 1;
    recipe.sequence_leaves = *rc::gen::element<std::size_t>(2, 4, 8);
  }
  recipe.channel_grain = below(20) - 1;
  recipe.feature_grain = below(20) - 1;
  recipe.vocab_grain = below(20) - 1;
  recipe.head_grain = below(3);
  recipe.seed = *rc::gen::arbitrary<std::uint32_t>();
  recipe.optimizer = *rc::gen::element(OptimizerKind::sgd, OptimizerKind::adamw);
  recipe.steps = 30;
  recipe.warmup = *rc::gen::element<std::size_t>(0, 5);
  recipe.decay =
      *rc::gen::element(LrDecay::constant, LrDecay::linear, LrDecay::cosine, LrDecay::wsd);
  recipe.lr = *rc::gen::element(0.01, 0.001);
  recipe.min_lr = *rc::gen::element(0.0, 0.0001);
  recipe.weight_decay = *rc::gen::element(0.0, 0.1);
  recipe.clip = *rc::gen::element(0.0, 0.1, 100.0);
  return recipe;
}

StepCase drawn_gpt2_case(const Recipe& recipe, std::size_t vocabulary, double scale,
                         std::size_t absent) {
  StepCase drawn = drawn_case(recipe, gpt2(recipe, vocabulary), scale);
  std::mt19937_64 random(recipe.seed);
  std::uniform_real_distribution<float> unit(-1, 1);
  for (const ParameterSpec& spec : drawn.model.parameters) {
    if (spec.initial.kind == Initial::Kind::constant && spec.initial.size == 1) {
      for (float& gain : drawn.values.at(spec.name)) gain += 1;
    }
    if (recipe.optimizer != OptimizerKind::adamw) continue;
    for (std::size_t i = 0; i < spec.size(); ++i) {
      drawn.first_moments[spec.name].push_back(0.1F * unit(random));
      drawn.second_moments[spec.name].push_back(0.01F * unit(random) * unit(random));
      float& second = drawn.second_moments[spec.name].back();
      second = second < 0 ? -second : second;
    }
  }
  for (std::size_t row = 0; absent > 0 && row < drawn.batch.targets.size(); row += absent) {
    drawn.batch.targets[row] = kNoTarget;
  }
  return drawn;
}

StepCase random_gpt2_case(std::size_t most_layers) {
  const Recipe recipe = random_gpt2_recipe(most_layers);
  const auto vocabulary = *rc::gen::inRange<std::size_t>(2, 14);
  const double scale = *rc::gen::element(0.1, 0.3, 0.6);
  StepCase drawn =
      drawn_gpt2_case(recipe, vocabulary, scale, *rc::gen::element<std::size_t>(0, 0, 2, 3));
  drawn.step = *rc::gen::inRange<std::size_t>(0, recipe.steps);
  return drawn;
}

}  // namespace meshparity
