#include "oracle/equations.h"

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <string>

namespace meshparity::equations {
namespace {

void require(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument(what);
}

/// The width that a block gives, from the one that it takes.
struct Width {
  const Model& model;
  const BlockSpec& block;
  const MicroBatch& batch;
  std::size_t input;

  std::size_t operator()(const EmbeddingSpec& spec) const {
    require_uses(1);
    require(input == 0, block.name + " reads tokens, but is not the first block");
    require(used(0).rows == model.head.vocabulary, used(0).name + " has no row for each token");
    return spec.tokens * used(0).columns;
  }
  std::size_t operator()(const LinearSpec& spec) const {
    require_uses(2);
    require_grains(spec.input_grain, spec.output_grain);
    return columns_of(0, input);
  }
  std::size_t operator()(const FeedForwardSpec& spec) const {
    require_uses(4);
    require_grains(spec.width_grain, spec.feature_grain);
    const std::size_t output = columns_of(2, columns_of(0, input));
    require(output == input, block.name + " does not give the width it takes");
    return output;
  }
  std::size_t operator()(const TokenAndPositionSpec& spec) const {
    require_uses(2);
    require_dropout(spec.dropout);
    require(input == 0, block.name + " reads tokens, but is not the first block");
    require(used(0).rows == model.head.vocabulary, used(0).name + " has no row for each token");
    require(used(1).rows >= batch.leaves.positions, used(1).name + " has too few positions");
    require(used(0).columns == used(1).columns, used(1).name + " is not as wide as tokens");
    return used(0).columns;
  }
  std::size_t operator()(const SelfAttentionSpec& spec) const {
    require_uses(6);
    require_layer_norm();
    require_grains(spec.head_grain, spec.channel_grain);
    require_dropout(spec.weights);
    require_dropout(spec.output);
    require(spec.heads > 0 && input % spec.heads == 0, block.name + " has heads of no whole size");
    require(columns_of(2, input) == 3 * input, used(2).name + " has not three columns a channel");
    const std::size_t output = columns_of(4, input);
    require(output == input, block.name + " does not give the width it takes");
    return output;
  }
  std::size_t operator()(const GeluFeedForwardSpec& spec) const {
    require_uses(6);
    require_layer_norm();
    require_grains(spec.channel_grain, spec.feature_grain);
    require_dropout(spec.output);
    const std::size_t output = columns_of(4, columns_of(2, input));
    require(output == input, block.name + " does not give the width it takes");
    return output;
  }
  std::size_t operator()(const LogitsSpec& spec) const {
    require_uses(3);
    require_layer_norm();
    require_grains(spec.channel_grain, spec.vocab_grain);
    require(used(2).columns == input, used(2).name + " has the wrong input width");
    return used(2).rows;
  }

 private:
  const ParameterSpec& used(std::size_t place) const { return model.parameters[block.uses[place]]; }
  void require_uses(std::size_t count) const {
    const bool known = std::ranges::all_of(
        block.uses, [&](std::size_t use) { return use < model.parameters.size(); });
    require(known && block.uses.size() == count, block.name + " uses the wrong parameters");
  }
  static void require_grains(std::size_t first, std::size_t second) {
    require(first > 0 && second > 0, "a sum's grain is at least 1");
  }
  static void require_dropout(const DropoutSpec& spec) {
    require(spec.probability >= 0 && spec.probability < 1, "a probability is not in [0, 1)");
  }
  void require_layer_norm() const {
    require(input > 0 && used(0).size() == input && used(1).size() == input,
            used(0).name + " does not fit the block's input");
  }
  /// Of the block's parameters, number `place` is a matrix with this many rows, the next its bias.
  std::size_t columns_of(std::size_t place, std::size_t rows) const {
    const ParameterSpec& weight = used(place);
    require(rows > 0 && weight.rows == rows, weight.name + " has the wrong input width");
    require(used(place + 1).size() == weight.columns,
            used(place + 1).name + " does not fit its weight");
    return weight.columns;
  }
};

}  // namespace

void require_fit(const Model& model, const MicroBatch& batch) {
  std::size_t width = 0;
  std::vector<bool> is_used(model.parameters.size(), false);
  for (const BlockSpec& block : model.blocks) {
    width = std::visit(Width{model, block, batch, width}, block.kind);
    for (const std::size_t use : block.uses) is_used[use] = true;
  }
  require(width > 0 && width == model.head.vocabulary,
          "the logits are not as wide as the vocabulary");
  require(std::ranges::find(is_used, false) == is_used.end(), "a parameter is used by no block");

  const RowLeaves& leaves = batch.leaves;
  require(leaves.samples > 0 && model.head.vocab_grain > 0, "a sum's grain is at least 1");
  require(leaves.positions > 0 && std::has_single_bit(leaves.parts) &&
              (leaves.parts == 1 || leaves.samples == 1),
          "a sample has a power of two of leaves, or a leaf whole samples");
  const auto* const embedding = std::get_if<EmbeddingSpec>(&model.blocks[0].kind);
  require(reads_tokens(model.blocks[0]), "the first block reads no tokens");
  const std::size_t tokens = embedding == nullptr ? 1 : embedding->tokens;
  require(batch.samples() > 0 && batch.targets.size() == batch.rows() &&
              batch.tokens.size() == batch.rows() * tokens,
          "tokens and targets are not (rows, tokens of a row) and (rows)");
  const auto known = [&](Token token) {
    return token >= 0 && static_cast<std::size_t>(token) < model.head.vocabulary;
  };
  require(std::ranges::all_of(batch.tokens, known), "a token is unknown");
  require(std::ranges::all_of(batch.targets,
                              [&](Token token) { return token == kNoTarget || known(token); }),
          "a target is unknown");
}

}  // namespace meshparity::equations
