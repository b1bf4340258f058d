#pragma once

#include <cstddef>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "model/batch.h"
#include "model/model.h"

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
/// O outputs; W width, F features.
namespace meshparity::equations {

/// Throws std::invalid_argument unless model and batch fit together and are of a kind that the
/// equations know: a row for each sample, whole samples in a leaf.
void require_fit(const Model& model, const MicroBatch& batch);

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
  struct Gradients {
    Rows input;
    std::vector<typename A::Gradient> parameters;  // in the order of the block's uses
  };

  /// All must outlive it; `parameters` are those of the model.
  Block(A& arithmetic, const BlockSpec& block, const std::vector<typename A::Parameter>& parameters)
      : a_(arithmetic), spec_(block), parameters_(parameters) {}

  /// From the input x to the output y. `saved` is what else `backward` will need.
  Rows forward(const Rows& x, Rows& saved) {
    return std::visit([&](const auto& kind) { return forward(kind, x, saved); }, spec_.kind);
  }
  Gradients backward(const Rows& x, const Rows& y, const Rows& saved, const Rows& dy, Then then) {
    return std::visit([&](const auto& kind) { return backward(kind, x, y, saved, dy, then); },
                      spec_.kind);
  }

 private:
  using Parameter = typename A::Parameter;

  /// The block's parameter number `use`.
  const Parameter& p(std::size_t use) const { return parameters_[spec_.uses[use]]; }

  // -------- y = the vectors of the row's tokens, one after the other
  Rows forward(const EmbeddingSpec&, const Rows& /*x*/, Rows& /*saved*/) {
    const Parameter& weight = p(0);  // (V, E)
    return a_.gather(weight);        // (B, C E)
  }
  Gradients backward(const EmbeddingSpec&, const Rows& /*x*/, const Rows& /*y*/,
                     const Rows& /*saved*/, const Rows& dy, Then) {
    return {{}, {a_.scatter(dy, p(0))}};  // (V, E)
  }

  // -------- y = [relu](x weight + bias)
  Rows forward(const LinearSpec& spec, const Rows& x, Rows& /*saved*/) {
    const auto& [weight, bias] = std::tie(p(0), p(1));        // (I, O), (O)
    Rows z = a_.affine(x, weight, bias, spec.input_grain);    // (B, O)
    return spec.relu ? a_.relu(std::move(z)) : std::move(z);  // (B, O)
  }
  Gradients backward(const LinearSpec& spec, const Rows& x, const Rows& y, const Rows& /*saved*/,
                     const Rows& dy, Then then) {
    const Parameter& weight = p(0);                                    // (I, O)
    const Rows dz = spec.relu ? a_.relu_gradient(dy, y) : dy;          // (B, O)
    return {a_.times_transposed(dz, weight, spec.output_grain, then),  // (B, I)
            {a_.outer(x, dz),                                          // (I, O)
             a_.sum(dz)}};                                             // (O)
  }

  // -------- y = x + (h down + down_bias),  h = relu(x up + up_bias)
  Rows forward(const FeedForwardSpec& spec, const Rows& x, Rows& saved) {
    const auto& [up, up_bias] = std::tie(p(0), p(1));                         // (W, F), (F)
    const auto& [down, down_bias] = std::tie(p(2), p(3));                     // (F, W), (W)
    saved = a_.relu(a_.affine(x, up, up_bias, spec.width_grain));             // (B, F): h
    return a_.add(x, a_.affine(saved, down, down_bias, spec.feature_grain));  // (B, W)
  }
  Gradients backward(const FeedForwardSpec& spec, const Rows& x, const Rows& /*y*/, const Rows& h,
                     const Rows& dy, Then then) {
    const auto& [up, down] = std::tie(p(0), p(2));  // (W, F), (F, W)
    const auto on = Then::propagated;
    const Rows dh =
        a_.relu_gradient(a_.times_transposed(dy, down, spec.width_grain, on), h);  // (B, F)
    return {a_.add(dy, a_.times_transposed(dh, up, spec.feature_grain, then)),     // (B, W)
            {a_.outer(x, dh),                                                      // (W, F)
             a_.sum(dh),                                                           // (F)
             a_.outer(h, dy),                                                      // (F, W)
             a_.sum(dy)}};                                                         // (W)
  }

  template <typename Kind>
  Rows forward(const Kind&, const Rows& /*x*/, Rows& /*saved*/) {
    throw std::invalid_argument("not yet");
  }
  template <typename Kind>
  Gradients backward(const Kind&, const Rows& /*x*/, const Rows& /*y*/, const Rows& /*saved*/,
                     const Rows& /*dy*/, Then) {
    throw std::invalid_argument("not yet");
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
  std::vector<typename A::Rows> values;  // by boundary
  std::vector<typename A::Rows> saved;   // by block
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
    a.keep_bounds(saved);
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
    const bool to_embedding =
        b > 0 && std::holds_alternative<EmbeddingSpec>(model.blocks[b - 1].kind);
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
