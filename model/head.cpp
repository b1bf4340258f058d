#include "model/head.h"

#include <algorithm>
#include <array>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

constexpr std::size_t kBlock = 64;  // rows at a time

/// Runs over the rows in blocks that stay in the cache: `finish(rows, p)` gets each block's rows
/// and probabilities.
template <typename Finish>
void for_each_block_of_losses(const HeadSpec& spec, const MicroBatch& batch,
                              std::span<const float> logits, std::span<float> probabilities,
                              PartialSum& losses, Finish finish) {
  std::array<float, kBlock> largest{};
  std::array<float, kBlock> log_sum{};
  const std::size_t vocabulary = spec.vocabulary;
  for (std::size_t leaf = 0; leaf < batch.leaf_total(); ++leaf) {
    const Range of_leaf = batch.leaves.rows_of(leaf, batch.samples());
    float sum = 0.0F;
    for (std::size_t begin = of_leaf.begin; begin < of_leaf.end; begin += kBlock) {
      const Range rows{begin, std::min(begin + kBlock, of_leaf.end)};
      const std::size_t size = rows.size() * vocabulary;
      const std::span<const float> z = logits.subspan(begin * vocabulary, size);
      const std::span<float> p = probabilities.subspan(begin * vocabulary, size);
      softmax_rows(z, rows.size(), spec.vocab_grain, p, largest, log_sum);
      for (std::size_t r = 0; r < rows.size(); ++r) {
        if (batch.targets[begin + r] == kNoTarget) continue;
        const auto target = static_cast<std::size_t>(batch.targets[begin + r]);
        sum = sum + (log_sum[r] - (z[r * vocabulary + target] - largest[r]));
      }
      finish(rows, p);
    }
    losses.next()[0] = sum;
    losses.push();
  }
}

}  // namespace

void Head::evaluate(const MicroBatch& batch, std::span<const float> logits,
                    std::span<float> probabilities, PartialSum& losses) const {
  for_each_block_of_losses(spec_, batch, logits, probabilities, losses,
                           [](Range, std::span<float>) {});
}

void Head::losses(const MicroBatch& batch, std::span<const float> logits,
                  std::span<float> logit_gradient, PartialSum& losses) const {
  const std::size_t vocabulary = spec_.vocabulary;
  const auto to_gradient = [&](Range rows, std::span<float> p) {
    const std::span<const Token> targets = batch.targets.subspan(rows.begin, rows.size());
    std::array<float, kBlock> of_targets{};
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (targets[r] == kNoTarget) continue;
      const float probability = p[r * vocabulary + static_cast<std::size_t>(targets[r])];
      of_targets[r] = (probability - 1.0F) * batch.inverse_targets;
    }
    scale(p, batch.inverse_targets, p);  // p - 0 is p; only the targets differ
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::span<float> row = p.subspan(r * vocabulary, vocabulary);
      if (targets[r] == kNoTarget) {
        std::ranges::fill(row, 0.0F);
      } else {
        row[static_cast<std::size_t>(targets[r])] = of_targets[r];
      }
    }
  };
  for_each_block_of_losses(spec_, batch, logits, logit_gradient, losses, to_gradient);
}

}  // namespace meshparity
