#pragma once

#include <cstddef>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "model/batch.h"
#include "model/model.h"
#include "oracle/batch_rows.h"

/// The equations of every kind of block, and of a whole model, written once for every arithmetic.
///
/// An arithmetic A has the types
///
///     A::Parameter   the values of a parameter, exact
///     A::Rows        a row of numbers for each row of the batch
///     A::Gradient    sums over the rows of the batch, in the shape of a parameter
///
/// and the operations below. Sums along a row are given their grain; sums over the rows of the
/// batch have that of the batch.
///
/// B rows, C tokens of a row, V tokens of the vocabulary, E width of a token's vector; I inputs,
/// O outputs; W width, F features. Of a transformer: B rows, each a position of a sample, C
/// channels, P positions, and d = C / heads.
namespace meshparity::equations {

/// Throws std::invalid_argument unless model and batch fit together and are of a kind that the
/// equations know.
void require_fit(const Model& model, const MicroBatch& batch);

/// True of the first block's kinds.
inline bool reads_tokens(const BlockSpec& block) {
  return std::holds_alternative<EmbeddingSpec>(block.kind) ||
         std::holds_alternative<TokenAndPositionSpec>(block.kind);
}

/// What becomes of an input gradient.
enum class Then {
  propagated,  ///< it goes through further blocks
  summed,      ///< it is added up over the batch, and that is all
};

/// One block of a model, in an arithmetic.
template <typename A>
class Block {
 public:
  using Rows = typename A::Rows;
  using Saved = std::vector<Rows>;
  struct Gradients {
    Rows input;
    std::vector<typename A::Gradient> parameters;  // in the order of the block's uses
  };

  /// All must outlive it; `parameters` are those of the model.
  Block(A& arithmetic, const BlockSpec& block, const std::vector<typename A::Parameter>& parameters)
      : a_(arithmetic), spec_(block), parameters_(parameters) {}

  /// From the input x to the output y. `saved` is what else `backward` will need.
  Rows forward(const Rows& x, Saved& saved) {
    return std::visit([&](const auto& kind) { return forward(kind, x, saved); }, spec_.kind);
  }
  Gradients backward(const Rows& x, const Rows& y, const Saved& saved, const Rows& dy, Then then) {
    return std::visit([&](const auto& kind) { return backward(kind, x, y, saved, dy, then); },
                      spec_.kind);
  }

 private:
  using Parameter = typename A::Parameter;

  /// The block's parameter number `use`.
  const Parameter& p(std::size_t use) const { return parameters_[spec_.uses[use]]; }

  // -------- y = the vectors of the row's tokens, one after the other
  Rows forward(const EmbeddingSpec&, const Rows& /*x*/, Saved& /*saved*/) {
    const Parameter& weight = p(0);          // (V, E)
    return a_.gather(weight, Read::tokens);  // (B, C E)
  }
  Gradients backward(const EmbeddingSpec&, const Rows& /*x*/, const Rows& /*y*/,
                     const Saved& /*saved*/, const Rows& dy, Then) {
    return {{}, {a_.scatter(dy, p(0), Read::tokens)}};  // (V, E)
  }

  // -------- y = [relu](x weight + bias)
  Rows forward(const LinearSpec& spec, const Rows& x, Saved& /*saved*/) {
    const auto& [weight, bias] = std::tie(p(0), p(1));        // (I, O), (O)
    Rows z = a_.affine(x, weight, bias, spec.input_grain);    // (B, O)
    return spec.relu ? a_.relu(std::move(z)) : std::move(z);  // (B, O)
  }
  Gradients backward(const LinearSpec& spec, const Rows& x, const Rows& y, const Saved& /*saved*/,
                     const Rows& dy, Then then) {
    const Parameter& weight = p(0);                                    // (I, O)
    const Rows dz = spec.relu ? a_.relu_gradient(dy, y) : dy;          // (B, O)
    return {a_.times_transposed(dz, weight, spec.output_grain, then),  // (B, I)
            {a_.outer(x, dz),                                          // (I, O)
             a_.sum(dz)}};                                             // (O)
  }

  // -------- y = x + (h down + down_bias),  h = relu(x up + up_bias)
  Rows forward(const FeedForwardSpec& spec, const Rows& x, Saved& saved) {
    const auto& [up, up_bias] = std::tie(p(0), p(1));                            // (W, F), (F)
    const auto& [down, down_bias] = std::tie(p(2), p(3));                        // (F, W), (W)
    saved = {a_.relu(a_.affine(x, up, up_bias, spec.width_grain))};              // (B, F): h
    return a_.add(x, a_.affine(saved[0], down, down_bias, spec.feature_grain));  // (B, W)
  }
  Gradients backward(const FeedForwardSpec& spec, const Rows& x, const Rows& /*y*/,
                     const Saved& saved, const Rows& dy, Then then) {
    const auto& [up, down] = std::tie(p(0), p(2));  // (W, F), (F, W)
    const Rows& h = saved[0];                       // (B, F)
    const auto on = Then::propagated;
    const Rows dh =
        a_.relu_gradient(a_.times_transposed(dy, down, spec.width_grain, on), h);  // (B, F)
    return {a_.add(dy, a_.times_transposed(dh, up, spec.feature_grain, then)),     // (B, W)
            {a_.outer(x, dh),                                                      // (W, F)
             a_.sum(dh),                                                           // (F)
             a_.outer(h, dy),                                                      // (F, W)
             a_.sum(dy)}};                                                         // (W)
  }

  // -------- y = dropout(vector of the row's token + vector of its position)
  Rows forward(const TokenAndPositionSpec& spec, const Rows& /*x*/, Saved& /*saved*/) {
    const Rows token = a_.gather(p(0), Read::tokens);          // (V, C) -> (B, C)
    const Rows position = a_.gather(p(1), Read::positions);    // (P, C) -> (B, C)
    return a_.dropout(a_.add(token, position), spec.dropout);  // (B, C)
  }
  Gradients backward(const TokenAndPositionSpec& spec, const Rows& /*x*/, const Rows& /*y*/,
                     const Saved& /*saved*/, const Rows& dy, Then) {
    const Rows d = a_.dropout(dy, spec.dropout);  // (B, C)
    return {{},
            {a_.scatter(d, p(0), Read::tokens),       // (V, C)
             a_.scatter(d, p(1), Read::positions)}};  // (P, C)
  }

  // -------- y = layer_norm(x), which saves n, 1 / deviation and y
  Rows layer_norm(const Rows& x, const Parameter& gain, const Parameter& bias, Saved& saved) {
    auto [n, inverse] = a_.normalize(x);     // (B, C), (B, 1)
    Rows y = a_.scale_shift(n, gain, bias);  // (B, C)
    saved = {std::move(n), std::move(inverse), y};
    return y;
  }
  /// Of the input; and, before others, of gain and bias.
  Gradients layer_norm_gradient(const Parameter& gain, const Saved& saved, const Rows& dy) {
    const auto& [n, inverse] = std::tie(saved[0], saved[1]);        // (B, C), (B, 1)
    return {a_.normalize_gradient(a_.scale(dy, gain), n, inverse),  // (B, C)
            {a_.column_products(dy, n),                             // (C)
             a_.sum(dy)}};                                          // (C)
  }

  // -------- y = x + dropout(attention(layer_norm(x) qkv + qkv_bias) projection + projection_bias)
  Rows forward(const SelfAttentionSpec& spec, const Rows& x, Saved& saved) {
    const Rows in = layer_norm(x, p(0), p(1), saved);                    // (B, C)
    saved.push_back(a_.affine(in, p(2), p(3), spec.channel_grain));      // (B, 3 C): q, k, v
    saved.push_back(a_.attention(saved[3], spec));                       // (B, C)
    const Rows out = a_.affine(saved[4], p(4), p(5), head_terms(spec));  // (B, C)
    return a_.add(x, a_.dropout(out, spec.output));                      // (B, C)
  }
  Gradients backward(const SelfAttentionSpec& spec, const Rows& /*x*/, const Rows& /*y*/,
                     const Saved& saved, const Rows& dy, Then) {
    const auto& [qkv, projection] = std::tie(p(2), p(4));  // (C, 3 C), (C, C)
    const auto& [in, joined, attended] = std::tie(saved[2], saved[3], saved[4]);
    const auto on = Then::propagated;
    const Rows d = a_.dropout(dy, spec.output);  // (B, C)
    const Rows d_attended = a_.times_transposed(d, projection, spec.channel_grain, on);
    const Rows d_joined = a_.attention_gradient(joined, attended, d_attended, spec);  // (B, 3 C)
    const Rows d_in = a_.times_transposed(d_joined, qkv, 3 * head_terms(spec), on);   // (B, C)
    auto [dx, gradients] = layer_norm_gradient(p(0), saved, d_in);
    gradients.push_back(a_.outer(in, d_joined));  // (C, 3 C)
    gradients.push_back(a_.sum(d_joined));        // (3 C)
    gradients.push_back(a_.outer(attended, d));   // (C, C)
    gradients.push_back(a_.sum(d));               // (C)
    return {a_.add(dy, dx), std::move(gradients)};
  }
  /// Terms of a leaf of a sum over heads.
  std::size_t head_terms(const SelfAttentionSpec& spec) const {
    return spec.head_grain * (A::columns(p(2)) / 3 / spec.heads);
  }

  // -------- y = x + dropout(gelu(layer_norm(x) up + up_bias) down + down_bias)
  Rows forward(const GeluFeedForwardSpec& spec, const Rows& x, Saved& saved) {
    const Rows in = layer_norm(x, p(0), p(1), saved);                      // (B, C)
    saved.push_back(a_.affine(in, p(2), p(3), spec.channel_grain));        // (B, F)
    saved.push_back(a_.gelu(saved[3]));                                    // (B, F)
    const Rows out = a_.affine(saved[4], p(4), p(5), spec.feature_grain);  // (B, C)
    return a_.add(x, a_.dropout(out, spec.output));                        // (B, C)
  }
  Gradients backward(const GeluFeedForwardSpec& spec, const Rows& /*x*/, const Rows& /*y*/,
                     const Saved& saved, const Rows& dy, Then) {
    const auto& [up, down] = std::tie(p(2), p(4));                    // (C, F), (F, C)
    const auto& [in, u, h] = std::tie(saved[2], saved[3], saved[4]);  // (B, C), 2 (B, F)
    const auto on = Then::propagated;
    const Rows d = a_.dropout(dy, spec.output);                             // (B, C)
    const Rows dh = a_.times_transposed(d, down, spec.channel_grain, on);   // (B, F)
    const Rows du = a_.gelu_gradient(dh, u);                                // (B, F)
    const Rows d_in = a_.times_transposed(du, up, spec.feature_grain, on);  // (B, C)
    auto [dx, gradients] = layer_norm_gradient(p(0), saved, d_in);
    gradients.push_back(a_.outer(in, du));  // (C, F)
    gradients.push_back(a_.sum(du));        // (F)
    gradients.push_back(a_.outer(h, d));    // (F, C)
    gradients.push_back(a_.sum(d));         // (C)
    return {a_.add(dy, dx), std::move(gradients)};
  }

  // -------- y = layer_norm(x) token^T
  Rows forward(const LogitsSpec& spec, const Rows& x, Saved& saved) {
    const Rows in = layer_norm(x, p(0), p(1), saved);                            // (B, C)
    return a_.times_transposed(in, p(2), spec.channel_grain, Then::propagated);  // (B, V)
  }
  Gradients backward(const LogitsSpec& spec, const Rows& /*x*/, const Rows& /*y*/,
                     const Saved& saved, const Rows& dy, Then) {
    const Rows d_in = a_.times(dy, p(2), spec.vocab_grain);  // (B, V) (V, C) -> (B, C)
    auto gradients = layer_norm_gradient(p(0), saved, d_in);
    gradients.parameters.push_back(a_.outer(dy, saved[2]));  // (V, C)
    return gradients;
  }

  A& a_;
  const BlockSpec& spec_;
  const std::vector<Parameter>& parameters_;
};

/// The gradient of each parameter of the model: the sum over its uses, first block first.
/// `of_blocks[b][i]` is what block b adds to the parameter that it uses as number i.
template <typename A>
std::vector<typename A::Gradient> sum_over_uses(
    A& a, const Model& model, std::vector<std::vector<typename A::Gradient>> of_blocks) {
  std::vector<typename A::Gradient> sums(model.parameters.size());
  std::vector<bool> begun(sums.size(), false);
  for (std::size_t b = 0; b < model.blocks.size(); ++b) {
    for (std::size_t i = 0; i < model.blocks[b].uses.size(); ++i) {
      const std::size_t p = model.blocks[b].uses[i];
      sums[p] = begun[p] ? a.add(sums[p], of_blocks[b][i]) : std::move(of_blocks[b][i]);
      begun[p] = true;
    }
  }
  return sums;
}

/// A whole model's forward pass. Boundary b is what block b takes and block b - 1 gives; the last
/// one holds the logits. Nothing stands at boundary 0: the first block reads tokens.
template <typename A>
struct Forward {
  std::vector<typename A::Rows> values;              // by boundary
  std::vector<std::vector<typename A::Rows>> saved;  // by block
};

template <typename A>
Forward<A> forward(A& a, const Model& model, const std::vector<typename A::Parameter>& parameters) {
  Forward<A> pass;
  pass.values.resize(1);
  for (const BlockSpec& block : model.blocks) {
    auto& saved = pass.saved.emplace_back();
    pass.values.push_back(Block<A>(a, block, parameters).forward(pass.values.back(), saved));
    // What `backward` multiplies with these is summed over the batch at once.
    a.keep_bounds(pass.values[pass.values.size() - 2]);
    for (auto& rows : saved) a.keep_bounds(rows);
  }
  return pass;
}

/// A whole model's training step, up to the gradients.
template <typename A>
struct Step {
  Forward<A> pass;
  typename A::Gradient loss;                     // mean over the batch: one element
  std::vector<typename A::Rows> gradients;       // by boundary
  std::vector<typename A::Gradient> parameters;  // their gradients
};

template <typename A>
Step<A> step(A& a, const Model& model, const std::vector<typename A::Parameter>& parameters) {
  const std::size_t blocks = model.blocks.size();
  Step<A> step;
  step.pass = forward(a, model, parameters);
  auto& [x, saved] = step.pass;
  auto& dx = step.gradients;
  dx.resize(blocks + 1);
  std::tie(step.loss, dx[blocks]) = a.cross_entropy(x[blocks], model.head.vocab_grain);

  std::vector<std::vector<typename A::Gradient>> of_blocks(blocks);
  for (std::size_t b = blocks; b-- > 0;) {
    const bool to_embedding = b > 0 && reads_tokens(model.blocks[b - 1]);
    const Then then = to_embedding ? Then::summed : Then::propagated;
    Block<A> block(a, model.blocks[b], parameters);
    auto gradients = block.backward(x[b], x[b + 1], saved[b], dx[b + 1], then);
    dx[b] = std::move(gradients.input);
    of_blocks[b] = std::move(gradients.parameters);
    a.keep_bounds(dx[b + 1]);
  }
  step.parameters = sum_over_uses(a, model, std::move(of_blocks));
  return step;
}

}  // namespace meshparity::equations
