#include "property_tests/proof/parity_generator.h"

#include <algorithm>
#include <string>

#include "model/corpus.h"
#include "model/model.h"
#include "model/numerics/range.h"

namespace meshparity {
namespace {

/// Uniform over [low, high] whatever RapidCheck's size; shrinks towards `low`.
std::size_t in(std::size_t low, std::size_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(low, high + 1));
}

template <typename T>
T one_of(const std::vector<T>& choices) {
  return choices[in(0, choices.size() - 1)];
}

/// A mesh along the axes of a strategy. Of several, each takes from what the ones before it have
/// left, in a random order, so that every axis meets every other and each is sometimes the longest.
Mesh draw_mesh(Strategy strategy, std::size_t blocks, std::size_t max_ranks) {
  std::vector<Axis> axes;
  for (const auto& [axis, name] : kAxes) {
    if (entry_of(strategy).axes[axis]) axes.push_back(axis);
  }
  Mesh mesh;
  const std::size_t first = in(0, axes.size() - 1);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const Axis axis = axes[(first + i) % axes.size()];
    std::size_t most = max_ranks / mesh.size();
    if (axis == Axis::pp) most = std::min(most, blocks);
    // Small numbers mostly, now and then one that leaves other ranks without a share.
    const bool any = in(1, 8) == 8 || (axes.size() == 1 && axis == Axis::pp);
    mesh[axis] = in(1, any ? most : std::min<std::size_t>(most, axes.size() == 1 ? 4 : 3));
  }
  return mesh;
}

std::string draw_corpus() {
  // The last bytes are above 127; one distinct byte makes a vocabulary of 2.
  const std::string bytes = "ab.-zyxwvutsrqponmlkjihgfedc \xC3\xA9\xFF";
  const std::size_t distinct = in(0, 3) == 0 ? 1 : in(1, bytes.size());
  const std::size_t documents = in(1, 8);
  std::string text;
  for (std::size_t d = 0; d < documents; ++d) {
    const std::size_t length = in(0, 4) == 0 ? 0 : in(1, 7);
    for (std::size_t i = 0; i < length; ++i) text += bytes[in(0, distinct - 1)];
    text += '\n';
  }
  // A corpus of empty lines is refused; one byte makes it a corpus.
  return text.find_first_not_of('\n') == std::string::npos ? text + "a" : text;
}

/// Either optimizer, for either model: Adam hides constant factors of the gradient.
void draw_optimizer(Recipe& recipe) {
  recipe.steps = in(3, 4);
  recipe.seed = in(0, 1U << 20);
  recipe.lr = one_of<double>({0.125, 0.1, 0.7});
  recipe.optimizer = in(0, 1) == 0 ? OptimizerKind::sgd : OptimizerKind::adamw;
  recipe.beta2 = one_of<double>({0.999, 0.95});
  recipe.weight_decay = one_of<double>({0, 0.1});
  recipe.decay =
      one_of<LrDecay>({LrDecay::constant, LrDecay::cosine, LrDecay::linear, LrDecay::wsd});
  recipe.min_lr = one_of<double>({0, 0.01});
  recipe.warmup = in(0, 2);
  recipe.clip = one_of<double>({0, 0, 0.05, 1});
}

/// Now and then a step so small that numbers are subnormal: parameters that start at 0, and the
/// moments of clipped gradients.
void draw_small_steps(Recipe& recipe) {
  const std::size_t drawn = in(0, 11);
  if (drawn == 11) recipe.clip = 1e-19;
  if (drawn != 10) return;
  recipe.lr = 2e-38;
  recipe.min_lr = 0;
}

Recipe draw_mlp(std::size_t layers) {
  Recipe recipe;
  // Half of them as the first contract had it: SGD with nothing about it.
  if (in(0, 1) == 0) {
    recipe.steps = in(3, 4);
    recipe.seed = in(0, 1U << 20);
    recipe.lr = one_of<double>({0.125, 0.1, 0.7});
  } else {
    draw_optimizer(recipe);
  }
  recipe.layers = layers;
  recipe.context = in(1, 5);
  recipe.embedding = in(1, 5);
  recipe.hidden = in(1, 13);
  recipe.batch = in(1, 17);
  // Grain 1, grains that do not divide, and grains of the whole dimension and more.
  recipe.batch_grain = in(0, 2) == 0 ? 1 : in(1, recipe.batch + 2);
  recipe.feature_grain = in(0, 2) == 0 ? 1 : in(1, recipe.hidden + 2);
  recipe.vocab_grain = in(1, 20);
  recipe.init_scale = one_of<float>({1.0F, 3.0F, 8.0F});
  draw_small_steps(recipe);
  // Likewise parameters that are subnormal, or whose products are.
  if (in(0, 7) == 7) recipe.init_scale = one_of<float>({1e-19F, 2e-38F});
  return recipe;
}

Recipe draw_gpt2(std::size_t layers) {
  Recipe recipe = default_recipe(ModelKind::gpt2);
  draw_optimizer(recipe);
  recipe.layers = layers;
  recipe.form = in(0, 1) == 0 ? DataForm::text : DataForm::lines;
  recipe.heads = in(1, 4);
  recipe.channels = recipe.heads * in(1, 5);
  recipe.positions = in(1, 9);
  recipe.sequence = in(0, recipe.positions);
  recipe.tied = in(0, 2) > 0;
  recipe.dropout = one_of<double>({0, 0, 0.1, 0.5});
  recipe.batch = in(1, 7);
  recipe.sequence_leaves = one_of<std::size_t>({1, 1, 2, 4});
  if (recipe.sequence_leaves == 1) recipe.batch_grain = in(1, recipe.batch + 1);
  // 0 stands for the contract's own; beside it grains of 1 and such that do not divide.
  recipe.feature_grain = in(0, 4 * recipe.channels + 1);
  recipe.vocab_grain = in(0, 20);
  recipe.channel_grain = in(0, 1) == 0 ? 0 : in(1, recipe.channels);
  recipe.head_grain = in(1, recipe.heads);
  draw_small_steps(recipe);
  return recipe;
}

SimOptions draw_world(std::size_t ranks) {
  SimOptions world;
  world.ranks = ranks;
  world.max_delay = one_of<std::size_t>({8, 0, 1, 40});
  world.patience = in(0, 3);
  world.turns = one_of<SimOptions::Turns>({SimOptions::Turns::random, SimOptions::Turns::random,
                                           SimOptions::Turns::lowest_first,
                                           SimOptions::Turns::highest_first});
  world.loans = one_of<SimOptions::Loans>(
      {SimOptions::Loans::either, SimOptions::Loans::in_place, SimOptions::Loans::copied});
  world.seed = in(0, 1U << 30);
  return world;
}

}  // namespace

rc::Gen<std::vector<ParityCase>> parity_cases(Reduction reduction, std::size_t max_ranks,
                                              std::optional<ModelKind> model) {
  return rc::gen::exec([=] {
    // Now and then deep enough for a pipeline of more than ten stages.
    const bool is_mlp = model ? *model == ModelKind::mlp : in(0, 1) == 0;
    const std::size_t layers = is_mlp ? (in(1, 16) == 16 ? in(9, 12) : in(1, 5)) : in(1, 3);
    Recipe shape = default_recipe(is_mlp ? ModelKind::mlp : ModelKind::gpt2);
    shape.layers = layers;
    const std::size_t blocks = model_of(shape, 2).blocks.size();
    std::vector<ParityCase> cases;
    for (const StrategyEntry& entry : strategies()) {
      ParityCase& c = cases.emplace_back();
      c.strategy = entry.strategy;
      c.how.mesh = draw_mesh(entry.strategy, blocks, max_ranks);
      c.how.reduction = reduction;
    }
    const Recipe recipe = is_mlp ? draw_mlp(layers) : draw_gpt2(layers);
    std::string corpus = draw_corpus();
    // A stream of bytes holds at least one window, in the part that is trained on.
    const std::size_t shortest = recipe.form == DataForm::text ? 2 * positions_of(recipe) + 4 : 0;
    while (corpus.size() < shortest) corpus += corpus;
    for (ParityCase& c : cases) {
      c.recipe = recipe;
      c.corpus = corpus;
      c.how.microbatches = in(1, leaf_count(recipe.batch, recipe.batch_grain));
      c.how.schedule = one_of<ScheduleKind>({ScheduleKind::one_f_one_b, ScheduleKind::gpipe});
      c.world = draw_world(c.how.mesh.size());
    }
    return cases;
  });
}

rc::Gen<std::vector<ResumeCase>> resume_cases(std::size_t max_ranks, std::size_t runs) {
  return rc::gen::exec([=] {
    // A case of each strategy, whose recipe is that of all; legs draw anew how they train it.
    std::vector<ParityCase> drawn = *parity_cases(Reduction::canonical, max_ranks);
    Recipe recipe = drawn.front().recipe;
    recipe.steps = in(4, 6);
    if (in(0, 2) > 0) recipe.optimizer = OptimizerKind::adamw;  // which has more to lose
    for (ParityCase& how : drawn) how.recipe = recipe;
    const std::size_t blocks = model_of(recipe, 2).blocks.size();
    std::vector<ResumeCase> cases(runs);
    for (ResumeCase& c : cases) {
      std::size_t stop = 0;
      for (std::size_t left = in(1, 4); left-- > 0;) {
        ParityCase how = drawn[in(0, drawn.size() - 1)];
        how.how.mesh = draw_mesh(how.strategy, blocks, max_ranks);
        how.world = draw_world(how.how.mesh.size());
        stop = left == 0 ? recipe.steps : in(stop, recipe.steps);
        c.legs.push_back(
            {how, stop, in(0, 1) == 0 ? CheckpointLayout::gathered : CheckpointLayout::sharded});
      }
    }
    return cases;
  });
}

}  // namespace meshparity
