#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "model/parameter.h"
#include "oracle/oracle.h"

/// The two ways in which tensors are compared, and what is said about the first difference.
namespace meshparity {

/// Where a tensor first differs from what it should be.
struct FirstDifference {
  std::size_t step = 0;
  std::string tensor;
  std::size_t index = 0;            ///< in the whole tensor, row-major
  std::optional<std::size_t> rank;  ///< that held the element, if the tensor was spread
  float expected = 0;               ///< of a bounded value: the nearest float
  float actual = 0;
  std::uint64_t ulps = 0;  ///< see `ulp_distance`
  std::string text;        ///< all of the above for a person, on one line
};

/// True if the bits are equal or both are NaN, whose bits are no part of the promise.
bool same_float(float a, float b);

/// How many floats apart: +0 and -0 are 1 apart, two NaN 0, a NaN and a number
/// `kNotComparable`.
std::uint64_t ulp_distance(float a, float b);
inline constexpr std::uint64_t kNotComparable = ~std::uint64_t{0};

/// What a float is held to. Both comparators hold views: what they are made from must outlive them.
class Exact {
 public:
  explicit Exact(std::span<const float> expected) : expected_(expected) {}
  std::size_t size() const { return expected_.size(); }
  float expected(std::size_t index) const { return expected_[index]; }
  bool accepts(std::size_t index, float actual) const;
  std::string describe(std::size_t index, float actual) const;

 private:
  std::span<const float> expected_;
};

/// Accepts what is no further from the oracle than the derived bound; never what is not finite.
class RoundingBound {
 public:
  explicit RoundingBound(const Bounded& oracle) : oracle_(oracle) {}
  std::size_t size() const { return oracle_.value.size(); }
  float expected(std::size_t index) const { return static_cast<float>(oracle_.value[index]); }
  bool accepts(std::size_t index, float actual) const { return ratio(index, actual) <= 1; }
  std::string describe(std::size_t index, float actual) const;

  /// |actual - oracle| / bound; 0 without an error, infinity where there must be none or `actual`
  /// is not finite.
  double ratio(std::size_t index, float actual) const;

  /// The largest ratio of a whole tensor. Above 1, the computation is wrong; far below, the bound
  /// was too wide to see much. Throws std::invalid_argument if the sizes differ.
  double worst_ratio(std::span<const float> actual) const;

 private:
  const Bounded& oracle_;
};

/// The first element of a whole tensor that is not accepted.
/// All throw std::invalid_argument if the sizes do not fit together.
std::optional<FirstDifference> first_difference(std::size_t step, const ParameterSpec& spec,
                                                const Exact& expected,
                                                std::span<const float> actual);
std::optional<FirstDifference> first_difference(std::size_t step, const ParameterSpec& spec,
                                                const RoundingBound& expected,
                                                std::span<const float> actual);

/// The first element of a rank's part that is not accepted; `expected` is the whole tensor.
std::optional<FirstDifference> first_difference(std::size_t step, const Shard& shard,
                                                std::size_t rank, const Exact& expected,
                                                std::span<const float> actual);
std::optional<FirstDifference> first_difference(std::size_t step, const Shard& shard,
                                                std::size_t rank, const RoundingBound& expected,
                                                std::span<const float> actual);

/// A tensor of one number, such as the loss.
ParameterSpec scalar_spec(const std::string& name);

}  // namespace meshparity
