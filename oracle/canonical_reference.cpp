#include "oracle/canonical_reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

namespace meshparity::reference {
namespace {

constexpr std::size_t kLanes = 16;

/// The largest power of two smaller than `count` (count >= 2).
std::size_t left_leaves(std::size_t count) {
  std::size_t half = 1;
  while (half * 2 < count) half *= 2;
  return half;
}

float tree(std::size_t first, std::size_t count, const Term& leaf) {
  if (count == 0) return 0.0F;
  if (count == 1) return leaf(first);
  const std::size_t half = left_leaves(count);
  return tree(first, half, leaf) + tree(first + half, count - half, leaf);
}

/// Calls `add(accumulator, i)` along each leaf and combines the leaves.
template <typename Add>
float sum_of_chains(std::size_t terms, std::size_t grain, const Add& add) {
  if (grain == 0) throw std::invalid_argument("a sum's grain is at least 1");
  const std::size_t leaves = terms / grain + (terms % grain != 0 ? 1 : 0);
  return tree(0, leaves, [&](std::size_t j) {
    float accumulator = 0.0F;
    for (std::size_t i = j * grain; i < terms && i - j * grain < grain; ++i) {
      accumulator = add(accumulator, i);
    }
    return accumulator;
  });
}

template <typename Add>
float sum_of_lanes(std::size_t terms, std::size_t grain, const Add& add) {
  if (grain == 0) throw std::invalid_argument("a sum's grain is at least 1");
  const std::size_t leaves = terms / grain + (terms % grain != 0 ? 1 : 0);
  return tree(0, leaves, [&](std::size_t j) {
    std::array<float, kLanes> lanes{};
    for (std::size_t i = j * grain; i < terms && i - j * grain < grain; ++i) {
      float& lane = lanes[(i - j * grain) % kLanes];
      lane = add(lane, i);
    }
    return canonical_tree(lanes);
  });
}

void nodes_below(Range node, Range run, std::vector<Range>& nodes) {
  if (node.end <= run.begin || run.end <= node.begin) return;
  if (run.begin <= node.begin && node.end <= run.end) {
    nodes.push_back(node);
    return;
  }
  const std::size_t middle = node.begin + left_leaves(node.end - node.begin);
  nodes_below({node.begin, middle}, run, nodes);
  nodes_below({middle, node.end}, run, nodes);
}

}  // namespace

float canonical_dot(std::size_t terms, std::size_t grain, const Term& a, const Term& b) {
  return sum_of_chains(terms, grain,
                       [&](float sum, std::size_t i) { return std::fma(a(i), b(i), sum); });
}

float canonical_dot(std::span<const float> a, std::span<const float> b, std::size_t grain) {
  if (a.size() != b.size()) throw std::invalid_argument("the vectors differ in length");
  return canonical_dot(
      a.size(), grain, [a](std::size_t i) { return a[i]; }, [b](std::size_t i) { return b[i]; });
}

float canonical_sum(std::size_t terms, std::size_t grain, const Term& term) {
  return sum_of_chains(terms, grain, [&](float sum, std::size_t i) { return sum + term(i); });
}

float canonical_sum(std::span<const float> terms, std::size_t grain) {
  return canonical_sum(terms.size(), grain, [terms](std::size_t i) { return terms[i]; });
}

float canonical_row_sum(std::size_t terms, std::size_t grain, const Term& term) {
  return sum_of_lanes(terms, grain, [&](float sum, std::size_t i) { return sum + term(i); });
}

float canonical_row_sum(std::span<const float> terms, std::size_t grain) {
  return canonical_row_sum(terms.size(), grain, [terms](std::size_t i) { return terms[i]; });
}

float canonical_row_dot(std::size_t terms, std::size_t grain, const Term& a, const Term& b) {
  return sum_of_lanes(terms, grain,
                      [&](float sum, std::size_t i) { return std::fma(a(i), b(i), sum); });
}

float canonical_tree(std::span<const float> leaves) {
  return tree(0, leaves.size(), [leaves](std::size_t i) { return leaves[i]; });
}

std::vector<Range> canonical_nodes(Range run, std::size_t leaves) {
  std::vector<Range> nodes;
  if (run.begin < run.end) nodes_below({0, leaves}, run, nodes);
  return nodes;
}

}  // namespace meshparity::reference
