#include "parallel/observe.h"

#include <array>

#include "model/statistics.h"

namespace meshparity {

double observe_step(StepObserver& observer, StepView view, Comm& world, bool needs_norm) {
  require_finite(view.loss, view.step);
  if (observer.wants_statistics() || needs_norm) {
    Statistics mine;
    for (const ShardView& shard : view.shards) {
      if (observer.wants_statistics()) {
        mine.add(shard);
      } else {
        mine.add_squares(shard);
      }
    }
    std::array<std::uint64_t, Statistics::word_count> words{};
    mine.to_words(words);
    world.all_reduce_integers(words);
    const Statistics all = Statistics::from_words(words);
    view.gradient_norm = all.gradient_norm();
    view.digest = all.digest;
    require_finite(view.gradient_norm, view.step);
  }
  observer.step(view);
  return view.gradient_norm;
}

void count_copies_once(std::span<ShardView> shards, const Blocks& blocks, const MeshCoordinates& at,
                       const TiedParameters* tied) {
  for (std::size_t p = 0; p < shards.size(); ++p) {
    AxisSet copies;
    copies[Axis::tp] = blocks.parameters()[p].copied;
    copies[Axis::pp] = tied != nullptr && tied->is_copy(p);
    shards[p].counted = counts(copies, at);
  }
}

}  // namespace meshparity
