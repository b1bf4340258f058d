#include "model/numerics/range.h"

#include <algorithm>

namespace meshparity {

std::size_t leaf_count(std::size_t terms, std::size_t grain) { return (terms + grain - 1) / grain; }

Range terms_of(Range leaves, std::size_t grain, std::size_t terms) {
  return {std::min(leaves.begin * grain, terms), std::min(leaves.end * grain, terms)};
}

Range share_of(std::size_t total, std::size_t parts, std::size_t index) {
  const std::size_t each = total / parts;
  const std::size_t larger = total % parts;
  const std::size_t begin = index * each + std::min(index, larger);
  return {begin, begin + each + (index < larger ? 1 : 0)};
}

Range share_of(Range total, std::size_t parts, std::size_t index) {
  const Range share = share_of(total.size(), parts, index);
  return {total.begin + share.begin, total.begin + share.end};
}

std::vector<Range> shares_of(Range total, std::size_t parts) {
  std::vector<Range> shares;
  for (std::size_t i = 0; i < parts; ++i) shares.push_back(share_of(total, parts, i));
  return shares;
}

}  // namespace meshparity
