#include "oracle/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace meshparity {
namespace {

/// Floats as integers in the order of their values; -0 comes right before +0.
std::int64_t ordered(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto magnitude = static_cast<std::int64_t>(bits & 0x7FFFFFFFU);
  return (bits >> 31) != 0 ? -1 - magnitude : magnitude;
}

std::string both_ways(float value) { return fmt::format("{:a} ({:.9g})", value, value); }

/// `whole` if the tensor has one element, otherwise with the index, and row and column of a matrix.
std::string element_name(const ParameterSpec& spec, std::size_t index) {
  if (spec.size() == 1) return spec.name;
  if (spec.is_vector) return fmt::format("{}[{}]", spec.name, index);
  return fmt::format("{}[{}] (row {}, column {})", spec.name, index, index / spec.columns,
                     index % spec.columns);
}

template <typename Comparator>
std::optional<FirstDifference> first_of(std::size_t step, const Shard& shard,
                                        std::optional<std::size_t> rank, const Comparator& expected,
                                        std::span<const float> actual) {
  if (expected.size() != shard.spec.size() || actual.size() != shard.size()) {
    throw std::invalid_argument(fmt::format(
        "{} has {} elements, {} of them here; got {} to compare with {}", shard.spec.name,
        shard.spec.size(), shard.size(), actual.size(), expected.size()));
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const std::size_t index = shard.global_index(i);
    if (expected.accepts(index, actual[i])) continue;
    FirstDifference found{.step = step,
                          .tensor = shard.spec.name,
                          .index = index,
                          .rank = rank,
                          .expected = expected.expected(index),
                          .actual = actual[i],
                          .ulps = ulp_distance(expected.expected(index), actual[i]),
                          .text = ""};
    found.text = fmt::format("step {}, {}{}: {}", step, element_name(shard.spec, index),
                             rank ? fmt::format(", rank {}", *rank) : "",
                             expected.describe(index, actual[i]));
    return found;
  }
  return std::nullopt;
}

}  // namespace

bool same_float(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

std::uint64_t ulp_distance(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return same_float(a, b) ? 0 : kNotComparable;
  return static_cast<std::uint64_t>(std::abs(ordered(a) - ordered(b)));
}

bool Exact::accepts(std::size_t index, float actual) const {
  return same_float(expected_[index], actual);
}

std::string Exact::describe(std::size_t index, float actual) const {
  const std::uint64_t ulps = ulp_distance(expected_[index], actual);
  return fmt::format(
      "expected {}, got {}, {}", both_ways(expected_[index]), both_ways(actual),
      ulps == kNotComparable ? "one is not a number" : fmt::format("{} ulp apart", ulps));
}

double RoundingBound::ratio(std::size_t index, float actual) const {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (!std::isfinite(actual)) return kNever;
  const double error = std::abs(static_cast<double>(actual) - oracle_.value[index]);
  if (error == 0) return 0;
  const double bound = oracle_.bound[index];
  // A bound that is not a number accepts nothing.
  return bound > 0 ? error / bound : kNever;
}

double RoundingBound::worst_ratio(std::span<const float> actual) const {
  if (actual.size() != size()) {
    throw std::invalid_argument(
        fmt::format("got {} elements to compare with {}", actual.size(), size()));
  }
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) worst = std::max(worst, ratio(i, actual[i]));
  return worst;
}

std::string RoundingBound::describe(std::size_t index, float actual) const {
  const double value = oracle_.value[index];
  return fmt::format("expected {:a} ({:.17g}) within {:.3g}, got {}, off by {:.3g}: {:.3g} bounds",
                     value, value, oracle_.bound[index], both_ways(actual),
                     std::abs(static_cast<double>(actual) - value), ratio(index, actual));
}

std::optional<FirstDifference> first_difference(std::size_t step, const ParameterSpec& spec,
                                                const Exact& expected,
                                                std::span<const float> actual) {
  return first_of(step, Shard(spec), std::nullopt, expected, actual);
}

std::optional<FirstDifference> first_difference(std::size_t step, const ParameterSpec& spec,
                                                const RoundingBound& expected,
                                                std::span<const float> actual) {
  return first_of(step, Shard(spec), std::nullopt, expected, actual);
}

std::optional<FirstDifference> first_difference(std::size_t step, const Shard& shard,
                                                std::size_t rank, const Exact& expected,
                                                std::span<const float> actual) {
  return first_of(step, shard, rank, expected, actual);
}

std::optional<FirstDifference> first_difference(std::size_t step, const Shard& shard,
                                                std::size_t rank, const RoundingBound& expected,
                                                std::span<const float> actual) {
  return first_of(step, shard, rank, expected, actual);
}

ParameterSpec scalar_spec(const std::string& name) {
  ParameterSpec spec;
  spec.name = name;
  spec.is_vector = true;
  return spec;
}

}  // namespace meshparity
