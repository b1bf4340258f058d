#pragma once

#include <cstddef>
#include <vector>

namespace meshparity {

/// A contiguous range [begin, end) of leaves, samples, features, blocks ...
struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;

  std::size_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  bool operator==(const Range&) const = default;
};

/// Number of leaves of a sum over `terms` terms.
std::size_t leaf_count(std::size_t terms, std::size_t grain);

/// The terms that a range of leaves covers; the last leaf may be short.
Range terms_of(Range leaves, std::size_t grain, std::size_t terms);

/// Part `index` of `parts` nearly equal parts of [0, total): the first `total % parts` parts hold
/// one more. Parts are empty where there are more parts than things to share.
Range share_of(std::size_t total, std::size_t parts, std::size_t index);

/// The same, of a range.
Range share_of(Range total, std::size_t parts, std::size_t index);

/// All parts.
std::vector<Range> shares_of(Range total, std::size_t parts);

}  // namespace meshparity
