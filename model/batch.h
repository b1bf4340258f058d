#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/corpus.h"
#include "model/numerics/range.h"
#include "model/recipe.h"

namespace meshparity {

/// How the rows of a batch are cut into the leaves of every sum over them. A row is a position of a
/// sample. Leaves hold whole samples; or each sample has `parts` leaves, whole positions, so that
/// positions can be shared out too.
struct RowLeaves {
  std::size_t positions = 1;  ///< rows of a sample
  std::size_t samples = 1;    ///< of a leaf; only the batch's last leaf may be short
  std::size_t parts = 1;      ///< leaves of a sample: a power of two; above 1, `samples` is 1
  /// Positions of a whole sample, where `positions` are the first of them (a prompt); 0: the same.
  /// Parts follow it.
  std::size_t sequence = 0;

  /// Leaves of this many samples.
  std::size_t count(std::size_t sample_total) const;
  /// The samples of a range of leaves of the batch.
  Range samples_of(Range leaves, std::size_t sample_total) const;
  /// The rows of leaf `leaf` among the rows of `sample_total` samples; a late part may be empty.
  Range rows_of(std::size_t leaf, std::size_t sample_total) const;
  /// Most rows of a leaf of a whole sample.
  std::size_t grain() const;
  /// Positions of a sample's leaf.
  std::size_t part() const { return leaf_count(whole_sequence(), parts); }
  std::size_t whole_sequence() const { return sequence == 0 ? positions : sequence; }
  /// True if all leaves but the batch's last have that many rows.
  bool even() const { return parts == 1 || positions == part() * parts; }
};

/// The samples that go through the blocks together: a range of whole leaves of the global batch,
/// and all that a block may ask of them.
struct MicroBatch {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  Range slots;  ///< of the global batch; with seed, step and position, what randomness depends on
  RowLeaves leaves;
  std::span<const Token> tokens{};   ///< (samples, tokens of a sample)
  std::span<const Token> targets{};  ///< (rows)
  float inverse_targets = 1;         ///< of the global batch: see BatchSource
  bool training = true;              ///< or evaluation

  std::size_t samples() const { return slots.size(); }
  std::size_t rows() const { return slots.size() * leaves.positions; }
  std::size_t leaf_total() const { return leaves.count(samples()); }
};

/// Tokens and targets of some samples, in memory taken before the first step.
struct Batch {
  std::vector<Token> tokens;   ///< (samples, tokens of a sample)
  std::vector<Token> targets;  ///< (rows)
};

/// Where microbatches come from: a recipe's draws from a corpus. Both must outlive it. A sample is
/// a pure function of (recipe, corpus, step, slot), whoever draws it.
class BatchSource {
 public:
  BatchSource(const Recipe& recipe, const Corpus& corpus);

  /// Leaves of the global batch, and what each holds.
  Range all_leaves() const { return {0, leaves_.count(recipe_.batch)}; }
  Range samples_of(Range leaves) const { return leaves_.samples_of(leaves, recipe_.batch); }
  /// The most samples that any of these ranges of leaves holds.
  std::size_t most_samples(std::span<const Range> leaves) const;
  /// Nearly equal runs of a range of leaves, of whole samples each.
  std::vector<Range> shares_of(Range leaves, std::size_t parts) const;
  std::size_t positions() const { return leaves_.positions; }
  const RowLeaves& row_leaves() const { return leaves_; }

  /// The factor of the one mean in training: 1 / (targets of the global batch of `step`), rounded
  /// once; +0 if there are none.
  float inverse_targets(std::uint64_t step) const;

  /// Memory for up to `samples` samples.
  Batch room_for(std::size_t samples) const;
  /// Slots [slots.begin, slots.end) of the global batch of `step`, in `room`.
  MicroBatch draw(Corpus::Split split, std::uint64_t step, Range slots, Batch& room) const;
  /// Samples [samples.begin, samples.end) of a whole split, one after the other.
  MicroBatch consecutive(Corpus::Split split, Range samples, Batch& room) const;
  /// A sample of these tokens, at most those of a whole one, without targets.
  MicroBatch prompt(std::span<const Token> tokens, Batch& room) const;

 private:
  MicroBatch batch_in(Batch& room, Range slots) const;

  const Recipe& recipe_;
  const Corpus& corpus_;
  RowLeaves leaves_;
};

}  // namespace meshparity
