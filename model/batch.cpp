#include "model/batch.h"

#include <algorithm>

namespace meshparity {

std::size_t RowLeaves::count(std::size_t sample_total) const {
  return leaf_count(sample_total, samples) * parts;
}

Range RowLeaves::samples_of(Range leaves, std::size_t sample_total) const {
  return terms_of({leaves.begin / parts, leaves.end / parts}, samples, sample_total);
}

Range RowLeaves::rows_of(std::size_t leaf, std::size_t sample_total) const {
  const Range held = samples_of({leaf / parts * parts, (leaf / parts + 1) * parts}, sample_total);
  // With one part a sample's positions are all in it, and the leaf goes on with the next sample's.
  const Range part = parts == 1 ? Range{0, held.size() * positions}
                                : terms_of({leaf % parts, leaf % parts + 1}, grain(), positions);
  const std::size_t first = held.begin * positions;
  return {first + part.begin, first + part.end};
}

std::size_t RowLeaves::grain() const {
  return parts == 1 ? samples * positions : leaf_count(positions, parts);
}

BatchSource::BatchSource(const Recipe& recipe, const Corpus& corpus)
    : recipe_(recipe),
      corpus_(corpus),
      leaves_{.positions = positions_of(recipe),
              .samples = recipe.batch_grain,
              .parts = recipe.sequence_leaves} {}

std::size_t BatchSource::most_samples(std::span<const Range> leaves) const {
  std::size_t most = 0;
  for (const Range range : leaves) most = std::max(most, samples_of(range).size());
  return most;
}

std::vector<Range> BatchSource::shares_of(Range leaves, std::size_t parts) const {
  const std::size_t of_sample = leaves_.parts;
  std::vector<Range> shares =
      meshparity::shares_of({leaves.begin / of_sample, leaves.end / of_sample}, parts);
  for (Range& share : shares) share = {share.begin * of_sample, share.end * of_sample};
  return shares;
}

float BatchSource::inverse_targets(std::uint64_t /*step*/) const {
  return 1.0F / static_cast<float>(recipe_.batch);  // every sample has one
}

Batch BatchSource::room_for(std::size_t samples) const {
  return {std::vector<Token>(samples * corpus_.context()),
          std::vector<Token>(samples * leaves_.positions)};
}

MicroBatch BatchSource::draw(Corpus::Split split, std::uint64_t step, Range slots,
                             Batch& room) const {
  const std::span<Token> tokens = std::span(room.tokens).first(slots.size() * corpus_.context());
  const std::span<Token> targets = std::span(room.targets).first(slots.size());
  corpus_.draw(split, recipe_.seed, step, slots.begin, tokens, targets);
  return {.seed = recipe_.seed,
          .step = step,
          .slots = slots,
          .leaves = leaves_,
          .tokens = tokens,
          .targets = targets,
          .inverse_targets = inverse_targets(step),
          .training = split == Corpus::Split::training};
}

MicroBatch BatchSource::prompt(std::span<const Token> tokens, Batch& room) const {
  std::ranges::copy(tokens, room.tokens.begin());
  const std::span<Token> targets = std::span(room.targets).first(leaves_.positions);
  std::ranges::fill(targets, kNoTarget);
  return {.slots = {0, 1},
          .leaves = leaves_,
          .tokens = std::span(room.tokens).first(tokens.size()),
          .targets = targets,
          .training = false};
}

}  // namespace meshparity
