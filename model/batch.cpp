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
  const Range rows = parts == 1 ? Range{0, held.size() * positions}
                                : terms_of({leaf % parts, leaf % parts + 1}, part(), positions);
  const std::size_t first = held.begin * positions;
  return {first + rows.begin, first + rows.end};
}

std::size_t RowLeaves::grain() const { return parts == 1 ? samples * positions : part(); }

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

float BatchSource::inverse_targets(std::uint64_t step) const {
  const auto split = Corpus::Split::training;
  const std::size_t targets = recipe_.order == DataOrder::sequential
                                  ? recipe_.batch * leaves_.positions
                                  : corpus_.drawn_targets(split, recipe_.seed, step, recipe_.batch);
  return targets == 0 ? 0.0F : 1.0F / static_cast<float>(targets);
}

Batch BatchSource::room_for(std::size_t samples) const {
  return {std::vector<Token>(samples * corpus_.context()),
          std::vector<Token>(samples * leaves_.positions)};
}

MicroBatch BatchSource::batch_in(Batch& room, Range slots) const {
  return {.seed = recipe_.seed,
          .slots = slots,
          .leaves = leaves_,
          .tokens = std::span(room.tokens).first(slots.size() * corpus_.context()),
          .targets = std::span(room.targets).first(slots.size() * leaves_.positions)};
}

MicroBatch BatchSource::draw(Corpus::Split split, std::uint64_t step, Range slots,
                             Batch& room) const {
  MicroBatch batch = batch_in(room, slots);
  batch.step = step;
  batch.training = split == Corpus::Split::training;
  if (batch.training) batch.inverse_targets = inverse_targets(step);
  const std::size_t context = corpus_.context();
  const std::size_t positions = leaves_.positions;
  const std::span<Token> tokens = std::span(room.tokens).first(slots.size() * context);
  const std::span<Token> targets = std::span(room.targets).first(slots.size() * positions);
  if (recipe_.order == DataOrder::random) {
    corpus_.draw(split, recipe_.seed, step, slots.begin, tokens, targets);
    return batch;
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    corpus_.sample(split, corpus_.sample_in_order(split, step, slots.begin + i, recipe_.batch),
                   tokens.subspan(i * context, context), targets.subspan(i * positions, positions));
  }
  return batch;
}

MicroBatch BatchSource::consecutive(Corpus::Split split, Range samples, Batch& room) const {
  MicroBatch batch = batch_in(room, {0, samples.size()});
  batch.training = false;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    corpus_.consecutive_sample(
        split, samples.begin + i,
        std::span(room.tokens).subspan(i * corpus_.context(), corpus_.context()),
        std::span(room.targets).subspan(i * leaves_.positions, leaves_.positions));
  }
  return batch;
}

MicroBatch BatchSource::prompt(std::span<const Token> tokens, Batch& room) const {
  std::ranges::copy(tokens, room.tokens.begin());
  MicroBatch batch = batch_in(room, {0, 1});
  batch.training = false;
  batch.tokens = batch.tokens.first(tokens.size());
  if (corpus_.positions() == corpus_.context()) {  // every token is a position
    batch.leaves.sequence = leaves_.positions;
    batch.leaves.positions = tokens.size();
    batch.targets = batch.targets.first(tokens.size());
  }
  std::fill_n(room.targets.begin(), batch.targets.size(), kNoTarget);
  return batch;
}

}  // namespace meshparity
