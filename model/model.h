#pragma once

#include <cstddef>
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

/// One step of depth: a pipeline cuts the model between blocks.
struct BlockSpec {
  std::string name;  ///< for reports
  std::variant<EmbeddingSpec, LinearSpec, FeedForwardSpec> kind;
  std::vector<std::size_t> uses;  ///< the parameters it computes with, in its kind's order
};

/// Softmax and cross-entropy: turns the last boundary (rows, vocabulary), the logits, into losses.
struct HeadSpec {
  std::size_t vocabulary = 1;
  std::size_t vocab_grain = 1;  ///< of sums over the vocabulary
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
