// GPT-2 as a value. V tokens, P positions, T = sequence, C channels, F = 4 C features, B samples;
// n counts layers from 0.
//
//     tensor                     shape      tensor parallelism          saved for backward
//     tokens                     (B, T)     whole                       with the batch
//     wte.weight                 (V, C)     rows: a part of the vocabulary
//     wpe.weight                 (P, C)     whole
//     x                          (B T, C)   whole                       as a boundary
//     h.n.ln_1.weight, .bias     (C)        whole
//     h.n.attn.qkv.weight        (C, 3 C)   columns: heads
//     h.n.attn.qkv.bias          (3 C)      like its columns
//     q, k, v                    (B T, 3 C) columns: heads              by the block
//     attention's output         (B T, C)   columns: heads              by the block
//     h.n.attn.c_proj.weight     (C, C)     rows: heads
//     h.n.attn.c_proj.bias       (C)        whole
//     x + attention              (B T, C)   whole                       as a boundary
//     h.n.ln_2.weight, .bias     (C)        whole
//     h.n.mlp.c_fc.weight        (C, F)     columns
//     h.n.mlp.c_fc.bias          (F)        like its columns
//     up                         (B T, F)   columns                     its GELU and the slope
//     h.n.mlp.c_proj.weight      (F, C)     rows
//     h.n.mlp.c_proj.bias        (C)        whole
//     x + feed-forward           (B T, C)   whole                       as a boundary
//     ln_f.weight, .bias         (C)        whole
//     wte.weight (again), or
//     lm_head.weight             (V, C)     rows: a part of the vocabulary
//     logits                     (B T, V)   columns                     as a boundary
//
// Names and shapes are those of Hugging Face's GPT-2, but for `attn.qkv`, which is their `c_attn`
// with its columns head by head. Every layer norm also saves the mean and the inverse standard
// deviation of each row, and attention the largest score and the sum of powers of each row and
// head.

#include "model/gpt2.h"

#include <cmath>
#include <string>
#include <utility>

namespace meshparity {
namespace {

constexpr double kDeviation = 0.02;  // of initial weights

/// Collects the parameters of a model; each call returns what blocks call the parameter.
class Table {
 public:
  explicit Table(Model& model) : model_(model) {}

  std::size_t matrix(const std::string& name, std::size_t rows, std::size_t columns,
                     double deviation = kDeviation) {
    return add({.name = name,
                .rows = rows,
                .columns = columns,
                .decays = true,
                .initial = {Initial::Kind::normal, 0, deviation}});
  }
  std::size_t vector(const std::string& name, std::size_t size, float value) {
    return add({.name = name,
                .columns = size,
                .is_vector = true,
                .initial = {Initial::Kind::constant, value}});
  }

 private:
  std::size_t add(ParameterSpec parameter) {
    model_.parameters.push_back(std::move(parameter));
    return model_.parameters.size() - 1;
  }

  Model& model_;
};

DropoutSpec dropout(const Recipe& recipe, std::size_t layer, DropoutSite site) {
  return {recipe.dropout, static_cast<std::uint32_t>(8 * layer) + static_cast<std::uint32_t>(site)};
}

}  // namespace

std::size_t grain_or_eighth(std::size_t grain, std::size_t terms) {
  return grain > 0 ? grain : (terms + 7) / 8;
}

Model gpt2(const Recipe& recipe, std::size_t vocabulary) {
  const std::size_t channels = recipe.channels;
  const std::size_t features = 4 * channels;
  const std::size_t channel_grain = recipe.channel_grain > 0 ? recipe.channel_grain : channels;
  const std::size_t feature_grain = grain_or_eighth(recipe.feature_grain, features);
  const std::size_t vocab_grain = grain_or_eighth(recipe.vocab_grain, vocabulary);
  // Each layer adds twice to the residual stream.
  const double residual = kDeviation / std::sqrt(2 * static_cast<double>(recipe.layers));

  Model model;
  Table table(model);
  const std::size_t wte = table.matrix("wte.weight", vocabulary, channels);
  const std::size_t wpe = table.matrix("wpe.weight", recipe.positions, channels);
  model.blocks.push_back(
      {"embedding",
       TokenAndPositionSpec{vocab_grain, dropout(recipe, 0, DropoutSite::embedding)},
       {wte, wpe}});

  for (std::size_t layer = 0; layer < recipe.layers; ++layer) {
    const std::string h = "h." + std::to_string(layer);
    const std::size_t ln_1 = table.vector(h + ".ln_1.weight", channels, 1);
    const std::size_t ln_1_bias = table.vector(h + ".ln_1.bias", channels, 0);
    const std::size_t qkv = table.matrix(h + ".attn.qkv.weight", channels, 3 * channels);
    const std::size_t qkv_bias = table.vector(h + ".attn.qkv.bias", 3 * channels, 0);
    const std::size_t projection =
        table.matrix(h + ".attn.c_proj.weight", channels, channels, residual);
    const std::size_t projection_bias = table.vector(h + ".attn.c_proj.bias", channels, 0);
    model.blocks.push_back(
        {h + ".attn",
         SelfAttentionSpec{.heads = recipe.heads,
                           .head_grain = recipe.head_grain,
                           .channel_grain = channel_grain,
                           .sequence = positions_of(recipe),
                           .sequence_leaves = recipe.sequence_leaves,
                           .weights = dropout(recipe, layer, DropoutSite::attention),
                           .output = dropout(recipe, layer, DropoutSite::projection)},
         {ln_1, ln_1_bias, qkv, qkv_bias, projection, projection_bias}});

    const std::size_t ln_2 = table.vector(h + ".ln_2.weight", channels, 1);
    const std::size_t ln_2_bias = table.vector(h + ".ln_2.bias", channels, 0);
    const std::size_t up = table.matrix(h + ".mlp.c_fc.weight", channels, features);
    const std::size_t up_bias = table.vector(h + ".mlp.c_fc.bias", features, 0);
    const std::size_t down = table.matrix(h + ".mlp.c_proj.weight", features, channels, residual);
    const std::size_t down_bias = table.vector(h + ".mlp.c_proj.bias", channels, 0);
    model.blocks.push_back(
        {h + ".mlp",
         GeluFeedForwardSpec{.channel_grain = channel_grain,
                             .feature_grain = feature_grain,
                             .output = dropout(recipe, layer, DropoutSite::down)},
         {ln_2, ln_2_bias, up, up_bias, down, down_bias}});
  }

  const std::size_t ln_f = table.vector("ln_f.weight", channels, 1);
  const std::size_t ln_f_bias = table.vector("ln_f.bias", channels, 0);
  const std::size_t output =
      recipe.tied ? wte : table.matrix("lm_head.weight", vocabulary, channels);
  model.blocks.push_back(
      {"logits", LogitsSpec{channel_grain, vocab_grain}, {ln_f, ln_f_bias, output}});
  model.head = {.vocabulary = vocabulary, .vocab_grain = vocab_grain, .split = true};
  return model;
}

}  // namespace meshparity
