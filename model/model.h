#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity {

/// How tensor parallelism cuts a linear block's weight. Columns first, then rows: in between, each
/// rank holds a part of the features and nothing needs to be exchanged (Megatron-LM,
/// arXiv:1909.08053).
enum class Split { whole, columns, rows };

/// The vectors of a row's tokens, one after the other: output (rows, tokens * width).
/// Uses: weight (vocabulary, width).
struct EmbeddingSpec {
  std::size_t tokens = 1;  ///< of a row
};

/// output = [relu](input weight + bias).
/// Uses: weight (inputs, outputs), bias (outputs).
struct LinearSpec {
  bool relu = false;
  Split split = Split::whole;
  std::size_t input_grain = 1;   ///< of sums over the inputs (forward)
  std::size_t output_grain = 1;  ///< of sums over the outputs (input gradient)
};

/// output = input + (relu(input up + up_bias) down + down_bias): a residual block.
/// Uses: up (width, features), up_bias (features), down (features, width), down_bias (width).
/// Tensor parallelism cuts up by columns and down by rows.
struct FeedForwardSpec {
  std::size_t width_grain = 1;    ///< of sums over the width
  std::size_t feature_grain = 1;  ///< of sums over the features
};

// -------- the transformer's: positions of a sample are rows of a batch

/// Of a place where activations are dropped while training.
struct DropoutSpec {
  double probability = 0;
  std::uint32_t place = 0;  ///< 8 * layer + site: part of the random numbers' coordinates
};
/// The sites of a layer.
enum class DropoutSite : std::uint32_t { embedding, attention, projection, down };

/// output = dropout(vector of the row's token + vector of its position).
/// Uses: token (vocabulary, channels), position (positions, channels).
/// Tensor parallelism cuts the token's by rows: each rank has a part of the vocabulary.
struct TokenAndPositionSpec {
  std::size_t vocab_grain = 1;  ///< of shares of the vocabulary
  DropoutSpec dropout;
};

/// output = input + dropout(attention(layer_norm(input)) projection + projection_bias): every row
/// sees the rows of its sample up to itself.
/// Uses: gain, bias (channels) of the layer norm; qkv (channels, 3 channels), qkv_bias: query, key
/// and value columns of head 0, then of head 1, ...; projection (channels, channels),
/// projection_bias.
/// Tensor parallelism shares out heads: qkv by columns, projection by rows.
struct SelfAttentionSpec {
  std::size_t heads = 1;
  std::size_t head_grain = 1;       ///< heads of a leaf of every sum over heads
  std::size_t channel_grain = 1;    ///< of sums over the channels
  std::size_t sequence = 1;         ///< most positions of a sample
  std::size_t sequence_leaves = 1;  ///< see RowLeaves
  DropoutSpec weights;              ///< of attention's probabilities
  DropoutSpec output;
};

/// output = input + dropout(gelu(layer_norm(input) up + up_bias) down + down_bias).
/// Uses: gain, bias (channels) of the layer norm; up (channels, features), up_bias; down (features,
/// channels), down_bias. Tensor parallelism cuts up by columns and down by rows.
struct GeluFeedForwardSpec {
  std::size_t channel_grain = 1;  ///< of sums over the channels
  std::size_t feature_grain = 1;  ///< of sums over the features
  DropoutSpec output;
};

/// output = layer_norm(input) token^T, the logits.
/// Uses: gain, bias (channels) of the layer norm; token (vocabulary, channels), perhaps the
/// embedding's. Tensor parallelism cuts it by rows: each rank has a part of the vocabulary.
struct LogitsSpec {
  std::size_t channel_grain = 1;  ///< of sums over the channels
  std::size_t vocab_grain = 1;    ///< of sums over the vocabulary (input gradient)
};

/// One step of depth: a pipeline cuts the model between blocks.
struct BlockSpec {
  std::string name;  ///< for reports
  std::variant<EmbeddingSpec, LinearSpec, FeedForwardSpec, TokenAndPositionSpec, SelfAttentionSpec,
               GeluFeedForwardSpec, LogitsSpec>
      kind;
  std::vector<std::size_t> uses;  ///< the parameters it computes with, in its kind's order
};

/// Softmax and cross-entropy: turns the last boundary (rows, vocabulary), the logits, into losses.
struct HeadSpec {
  std::size_t vocabulary = 1;
  std::size_t vocab_grain = 1;  ///< of sums over the vocabulary
  bool split = false;  ///< tensor parallelism shares out the vocabulary: the last boundary is cut
};

/// What is trained, as a value. Trainers know no more of a model than this.
///
/// A parameter may be used by several blocks: its gradient is then the sum over its uses, first use
/// first, of a finished canonical sum each.
struct Model {
  std::vector<ParameterSpec> parameters;
  std::vector<BlockSpec> blocks;
  HeadSpec head;
};

/// The model that a recipe trains on a corpus with a vocabulary of this size.
Model model_of(const Recipe& recipe, std::size_t vocabulary);

}  // namespace meshparity
