#include "model/recipe.h"

#include <cmath>

#include "model/error.h"

namespace meshparity {
namespace {

void require_positive(const char* name, std::size_t value) {
  if (value > 0) return;
  throw UsageError(std::string(name) + " is 0", std::string("give --") + name + " 1 or more");
}

/// a * b, or UsageError if the product is beyond what a machine can hold.
std::size_t checked_product(std::size_t a, std::size_t b, const std::string& what) {
  constexpr std::size_t kMost = std::size_t{1} << 40;  // elements: 4 TiB of floats
  if (a != 0 && b > kMost / a) {
    throw UsageError(what + " would have " + std::to_string(a) + " x " + std::to_string(b) +
                         " elements, more than 2^40",
                     "use smaller sizes");
  }
  return a * b;
}

}  // namespace

std::string_view name_of(ModelKind kind) { return kind == ModelKind::mlp ? "mlp" : "gpt2"; }

ModelKind model_named(std::string_view name) {
  for (const ModelKind kind : {ModelKind::mlp, ModelKind::gpt2}) {
    if (name == name_of(kind)) return kind;
  }
  throw UsageError("there is no model '" + std::string(name) + "'", "use --model mlp or gpt2");
}

std::uint64_t contract_of(ModelKind kind) { return kind == ModelKind::mlp ? 1 : 2; }

std::size_t positions_of(const Recipe& recipe) {
  if (recipe.model == ModelKind::mlp) return 1;
  return recipe.sequence == 0 ? recipe.positions : recipe.sequence;
}

Recipe default_recipe(ModelKind model) {
  Recipe recipe;
  if (model == ModelKind::mlp) return recipe;
  recipe.model = model;
  recipe.form = DataForm::text;
  recipe.layers = 4;
  recipe.batch = 12;
  recipe.steps = 2000;
  recipe.optimizer = OptimizerKind::adamw;
  recipe.lr = 1e-3;
  recipe.batch_grain = 1;
  recipe.feature_grain = 0;
  recipe.vocab_grain = 0;
  return recipe;
}

void validate(const Recipe& recipe, std::size_t vocabulary) {
  require_positive("context", recipe.context);
  require_positive("embedding", recipe.embedding);
  require_positive("hidden", recipe.hidden);
  require_positive("layers", recipe.layers);
  require_positive("batch", recipe.batch);
  require_positive("batch-grain", recipe.batch_grain);
  require_positive("feature-grain", recipe.feature_grain);
  require_positive("vocab-grain", recipe.vocab_grain);
  const auto lr = static_cast<float>(recipe.lr);
  if (!std::isfinite(lr) || lr <= 0) {
    throw UsageError("lr is " + std::to_string(recipe.lr), "give --lr a positive number");
  }
  if (!std::isfinite(recipe.init_scale) || recipe.init_scale <= 0) {
    throw UsageError("init-scale is " + std::to_string(recipe.init_scale),
                     "give --init-scale a positive number");
  }

  // Every size is at most 2^40 before anything is multiplied or allocated.
  const std::size_t joined =
      checked_product(recipe.context, recipe.embedding, "the joined context");
  checked_product(recipe.layers, 1, "the list of layers");
  checked_product(vocabulary, recipe.embedding, "embedding.weight");
  checked_product(joined, recipe.hidden, "hidden.0.weight");
  checked_product(recipe.layers, checked_product(recipe.hidden, recipe.hidden, "hidden.1.weight"),
                  "all hidden layers together");
  checked_product(recipe.hidden, vocabulary, "output.weight");
  checked_product(recipe.batch, joined, "the embedded batch");
  checked_product(recipe.layers,
                  checked_product(recipe.batch, recipe.hidden, "a hidden activation"),
                  "all hidden activations together");
  checked_product(recipe.batch, vocabulary, "the logits");
  checked_product(recipe.batch_grain, recipe.context, "a leaf of the batch");
  checked_product(recipe.feature_grain, 1, "a leaf of features");
  checked_product(recipe.vocab_grain, 1, "a leaf of the vocabulary");
}

}  // namespace meshparity
