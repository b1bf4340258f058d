#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/batch.h"
#include "model/blocks.h"
#include "model/numerics/aligned_floats.h"
#include "model/numerics/canonical_sum.h"
#include "model/observer.h"

namespace meshparity {

/// Gradients at the boundaries of some blocks, for one microbatch at a time: backward needs two at
/// once, so there are two buffers, used in turns.
class BoundaryGradients {
 public:
  BoundaryGradients(const Blocks& blocks, std::size_t most_rows);
  std::span<float> at(std::size_t boundary, std::size_t rows) {
    return std::span(buffers_[boundary % 2]).first(rows * widths_[boundary]);
  }

 private:
  std::vector<std::size_t> widths_;
  std::array<AlignedFloats, 2> buffers_;
};

/// All that is kept of one microbatch between its forward and its backward: the batch, what passes
/// between the blocks, and what they save inside.
class Pass {
 public:
  /// `gradients` may be shared by passes that are never in their backward at once. `boundaries` may
  /// be null.
  Pass(const Blocks& blocks, const BatchSource& batches, std::size_t most_samples,
       BoundaryGradients& gradients, BoundaryObserver* boundaries);

  void load(Corpus::Split split, std::uint64_t step, Range slots);
  /// Samples of a whole split, one after the other.
  void load_consecutive(Corpus::Split split, Range samples);
  /// One sample without targets, to be continued.
  void load(std::span<const Token> tokens);

  const MicroBatch& batch() const { return batch_; }
  std::span<float> value(std::size_t boundary);
  std::span<float> saved(std::size_t block);
  std::span<float> gradient(std::size_t boundary) { return gradients_.at(boundary, batch_.rows()); }

  /// What the first block takes and the last one gives; and their gradients.
  std::span<float> input() { return value(0); }
  std::span<float> output() { return value(blocks_.size()); }
  std::span<float> input_gradient() { return gradient(0); }
  std::span<float> output_gradient() { return gradient(blocks_.size()); }

  /// For observers: this boundary is complete.
  void show_value(std::size_t boundary);
  void show_gradient(std::size_t boundary);

 private:
  BoundaryView view_of(std::size_t boundary, std::span<const float> values) const;

  const Blocks& blocks_;
  const BatchSource& batches_;
  BoundaryGradients& gradients_;
  BoundaryObserver* boundaries_;
  Batch room_;
  MicroBatch batch_;
  std::vector<AlignedFloats> values_;  // [boundary]
  std::vector<AlignedFloats> saved_;   // [block]
};

/// Runs the blocks over a microbatch: each reads the boundary before it and writes the one after.
/// `values(b)` are the parameters of block b.
template <typename Values>
void forward(const Blocks& blocks, Values&& values, Pass& pass) {
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    blocks[b].forward(pass.batch(), values(b), pass.value(b), pass.value(b + 1), pass.saved(b));
    pass.show_value(b + 1);
  }
}

/// The same boundaries, last block first. Block b pushes onto `sums(b)`; then `done(b)` is called.
template <typename Values, typename Sums, typename Done>
void backward(const Blocks& blocks, Values&& values, Pass& pass, Sums&& sums, Done&& done) {
  for (std::size_t b = blocks.size(); b-- > 0;) {
    pass.show_gradient(b + 1);
    blocks[b].backward(pass.batch(), values(b), pass.value(b), pass.value(b + 1), pass.saved(b),
                       pass.gradient(b + 1), pass.gradient(b), sums(b));
    done(b);
  }
}

template <typename Values, typename Sums>
void backward(const Blocks& blocks, Values&& values, Pass& pass, Sums&& sums) {
  backward(blocks, values, pass, sums, [](std::size_t) {});
}

}  // namespace meshparity
