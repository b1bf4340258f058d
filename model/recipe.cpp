#include "model/recipe.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

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

std::string text_of(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

[[noreturn]] void refuse(const char* name, double value, const std::string& wanted) {
  throw UsageError(std::string(name) + " is " + text_of(value),
                   std::string("give --") + name + " " + wanted);
}

/// Numbers are used in binary32: what rounds to 0 or 1 is 0 or 1.
void require_positive_number(const char* name, double value) {
  const auto rounded = static_cast<float>(value);
  if (!std::isfinite(rounded) || rounded <= 0) refuse(name, value, "a positive number");
}

void require_not_negative(const char* name, double value) {
  if (!std::isfinite(static_cast<float>(value)) || value < 0) refuse(name, value, "0 or more");
}

/// A probability, or how much of a mean is kept.
void require_below_one(const char* name, double value) {
  if (!(value >= 0 && static_cast<float>(value) < 1)) refuse(name, value, "0 or more, below 1");
}

void require_at_most(const char* name, std::size_t value, const char* limit, std::size_t most) {
  if (value <= most) return;
  throw UsageError(std::string(name) + " is " + std::to_string(value) + ", " + limit + " is " +
                       std::to_string(most),
                   std::string("give --") + name + " " + std::to_string(most) + " or less");
}

void validate_numbers(const Recipe& recipe) {
  require_positive_number("lr", recipe.lr);
  require_not_negative("min-lr", recipe.min_lr);
  if (recipe.min_lr > recipe.lr) {
    throw UsageError(
        "min-lr is " + text_of(recipe.min_lr) + ", more than lr, " + text_of(recipe.lr),
        "the rate falls from --lr to --min-lr: give the larger number to --lr");
  }
  require_at_most("warmup", recipe.warmup, "the number of steps", recipe.steps);
  require_below_one("beta1", recipe.beta1);
  require_below_one("beta2", recipe.beta2);
  require_positive_number("eps", recipe.epsilon);
  require_not_negative("weight-decay", recipe.weight_decay);
  require_not_negative("clip", recipe.clip);
}

void validate_mlp(const Recipe& recipe, std::size_t vocabulary) {
  require_positive("context", recipe.context);
  require_positive("embedding", recipe.embedding);
  require_positive("hidden", recipe.hidden);
  require_positive("feature-grain", recipe.feature_grain);
  require_positive("vocab-grain", recipe.vocab_grain);
  require_positive_number("init-scale", static_cast<double>(recipe.init_scale));

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
}

/// Rows of the global batch: samples times positions. Their number is a binary32 without rounding.
std::size_t checked_rows(const Recipe& recipe) {
  const std::size_t positions = positions_of(recipe);
  const std::size_t rows = checked_product(recipe.batch, positions, "the batch");
  if (rows < std::size_t{1} << 24) return rows;
  throw UsageError("a batch of " + std::to_string(recipe.batch) + " samples of " +
                       std::to_string(positions) + " positions has " + std::to_string(rows) +
                       " targets, the limit is 2^24 - 1",
                   "use a smaller --batch or --sequence");
}

/// Dropped activations are chosen by random numbers with coordinates of 32 bits.
void validate_dropout(const Recipe& recipe) {
  require_below_one("dropout", recipe.dropout);
  if (recipe.dropout == 0) return;
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
  require_at_most("steps", recipe.steps, "with dropout the limit", kMost);
  require_at_most("layers", recipe.layers, "with dropout the limit", kMost / 8);
  const std::size_t keys =
      checked_product(recipe.heads, positions_of(recipe), "a row of attention's probabilities");
  if (std::max(keys, recipe.channels) / 4 <= kMost) return;
  throw UsageError("dropout with " + std::to_string(recipe.channels) + " channels and " +
                       std::to_string(keys) + " keys of a row: the limit is 2^34",
                   "use fewer channels, heads or positions, or --dropout 0");
}

void validate_sequence(const Recipe& recipe) {
  require_positive("positions", recipe.positions);
  require_at_most("sequence", recipe.sequence, "the number of positions of the model",
                  recipe.positions);
  if (!std::has_single_bit(recipe.sequence_leaves)) {
    throw UsageError("sequence-leaves is " + std::to_string(recipe.sequence_leaves),
                     "give --sequence-leaves a power of two");
  }
  checked_product(recipe.sequence_leaves, recipe.batch, "the list of leaves");
  if (recipe.sequence_leaves > 1 && recipe.batch_grain != 1) {
    throw UsageError("batch-grain is " + std::to_string(recipe.batch_grain) +
                         ", but with sequence-leaves a leaf is a part of one sample",
                     "--batch-grain 1, or --sequence-leaves 1");
  }
}

void validate_gpt2(const Recipe& recipe, std::size_t vocabulary) {
  require_positive("heads", recipe.heads);
  require_positive("channels", recipe.channels);
  require_positive("head-grain", recipe.head_grain);
  validate_sequence(recipe);
  if (recipe.channels % recipe.heads != 0) {
    throw UsageError("heads is " + std::to_string(recipe.heads) + ", which does not divide " +
                         std::to_string(recipe.channels) + " channels",
                     "give --heads a divisor of --channels");
  }
  // Every size is at most 2^40 before anything is multiplied or allocated.
  const std::size_t rows = checked_rows(recipe);
  const std::size_t channels = checked_product(4, recipe.channels, "the features") / 4;
  checked_product(recipe.layers, 2, "the list of blocks");
  checked_product(vocabulary, channels, "wte.weight");
  checked_product(recipe.positions, channels, "wpe.weight");
  checked_product(recipe.layers,
                  checked_product(12, checked_product(channels, channels, "attn.c_proj.weight"),
                                  "a layer's parameters"),
                  "all layers together");
  checked_product(recipe.layers, checked_product(rows, 10 * channels, "the activations of a layer"),
                  "all activations together");
  checked_product(rows, recipe.heads, "the largest scores");
  checked_product(rows, vocabulary, "the logits");
  checked_product(recipe.batch_grain, positions_of(recipe), "a leaf of the batch");
  checked_product(recipe.channel_grain, 1, "a leaf of channels");
  checked_product(recipe.head_grain, checked_product(3, channels, "a row of attn.qkv"),
                  "a leaf of heads");
  validate_dropout(recipe);
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
  require_positive("layers", recipe.layers);
  require_positive("batch", recipe.batch);
  require_positive("batch-grain", recipe.batch_grain);
  if (recipe.model == ModelKind::mlp) {
    validate_mlp(recipe, vocabulary);
  } else {
    validate_gpt2(recipe, vocabulary);
  }
  checked_product(recipe.feature_grain, 1, "a leaf of features");
  checked_product(recipe.vocab_grain, 1, "a leaf of the vocabulary");
  validate_numbers(recipe);
}

double least_bytes(const Recipe& recipe, std::size_t vocabulary, std::size_t microbatches) {
  const auto size = [](std::size_t n) { return static_cast<double>(n); };
  const double tokens = size(vocabulary);
  const double layers = size(recipe.layers);
  double parameters = 0;
  double boundaries = 2 * tokens;  // floats of a row: the logits and their gradient
  if (recipe.model == ModelKind::mlp) {
    const double hidden = size(recipe.hidden);
    const double joined = size(recipe.context) * size(recipe.embedding);
    parameters = tokens * size(recipe.embedding) + joined * hidden +
                 (layers - 1) * hidden * hidden + hidden * tokens;
    boundaries += joined + layers * hidden;
  } else {
    const double channels = size(recipe.channels);
    const double tables = tokens * (recipe.tied ? 1 : 2) + size(recipe.positions);
    parameters = tables * channels + layers * 12 * channels * channels;
    boundaries += (2 * layers + 1) * channels;
  }
  const double rows = size(recipe.batch) * size(positions_of(recipe)) / size(microbatches);
  const double copies = recipe.optimizer == OptimizerKind::adamw ? 4 : 2;
  return 4 * (copies * parameters + rows * boundaries);
}

}  // namespace meshparity
