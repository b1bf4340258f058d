#include "property_tests/parallel/reducer_cases.h"

#include <algorithm>
#include <span>

namespace meshparity {

Leaves random_leaves(std::size_t count, std::size_t width, const rc::Gen<float>& kind) {
  constexpr std::size_t kDrawn = 40;
  Leaves leaves;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<float>& leaf = leaves.emplace_back(random::floats(std::min(width, kDrawn), kind));
    const std::size_t period = leaf.size() - std::min(leaf.size() / 2, i);
    for (std::size_t at = leaf.size(); at < width; ++at) leaf.push_back(leaf[at - period]);
  }
  return leaves;
}

PartialSum stream(const Leaves& leaves, Range run, Range share) {
  PartialSum sum(leaves.size(), run, share.size());
  for (std::size_t leaf = run.begin; leaf < run.end; ++leaf) {
    sum.push({leaf, leaf + 1}, std::span(leaves[leaf]).subspan(share.begin, share.size()));
  }
  return sum;
}

bool fits_in_place(Range whole, std::size_t leaves) {
  return whole.empty() || is_node(whole, leaves);
}

void all_gather_nodes(Reducer& reducer, PartialSum& sum) {
  for (std::size_t node = 0; node < sum.nodes().size(); ++node) {
    reducer.begin_all_gather(sum.values(node));
    reducer.finish_all_gather();
  }
}

}  // namespace meshparity
