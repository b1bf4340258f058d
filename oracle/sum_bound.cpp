#include "oracle/sum_bound.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "oracle/wide_vectors.h"

namespace meshparity::rounding {
namespace {

std::size_t tree_depth(std::size_t leaves) {
  std::size_t depth = 0;
  while ((std::size_t{1} << depth) < leaves) ++depth;
  return depth;
}

std::size_t leaves_of(std::size_t terms, std::size_t grain) {
  return terms / grain + (terms % grain != 0 ? 1 : 0);
}

/// The terms of each leaf.
std::vector<Range> leaves_of(std::size_t terms, const Sum& sum) {
  if (!sum.leaves.empty()) return sum.leaves;
  std::vector<Range> leaves;
  for (std::size_t j = 0; j < leaves_of(terms, sum.grain); ++j) {
    const std::size_t begin = j * sum.grain;
    leaves.push_back({begin, begin + std::min(sum.grain, terms - begin)});
  }
  return leaves;
}

std::size_t longest(const std::vector<Range>& leaves) {
  std::size_t most = 0;
  for (const Range leaf : leaves) most = std::max(most, leaf.size());
  return most;
}

/// Most additions above a leaf.
std::size_t depth_over(std::size_t leaves, SumOrder order) {
  if (leaves == 0) return 0;
  return order == SumOrder::canonical ? tree_depth(leaves) : leaves - 1;
}

/// One leaf of a row's sums: for each column, sum_k factors[k] rows[k], and the sum of |s| over its
/// additions.
struct LeafSum {
  Index terms;
  Index columns;
  const double* factors;  // [term]
  const double* doubts;   // [term]
  const double* rows;     // (terms, columns)
  const double* live;     // the same: 1, and 0 where a factor is certainly 0; or null: all are 1
  bool fused;
  double* sums;       // [column]
  double* roundings;  // [column]
};

using FourDoubles = double __attribute__((vector_size(32)));

/// Of `count` vectors of columns from j on, which stay in registers.
template <typename Vector, Index count>
[[gnu::always_inline]] inline bool sum_columns(const LeafSum& leaf, Index j) {
  // NOLINTNEXTLINE(bugprone-sizeof-expression): 1 of a plain double
  constexpr auto kWidth = static_cast<Index>(sizeof(Vector) / sizeof(double));
  Vector sums[count] = {};
  Vector roundings[count] = {};
  bool touched = false;
  for (Index k = 0; k < leaf.terms; ++k) {
    const double factor = leaf.factors[k];
    if (factor == 0 && leaf.doubts[k] == 0) continue;
    const Index row = k * leaf.columns + j;
    for (Index v = 0; v < count; ++v) {
      Vector values;
      std::memcpy(&values, leaf.rows + row + v * kWidth, sizeof(values));
      sums[v] += factor * values;
    }
    // +0 and the first term, added as it is, make that term; a product is rounded even there.
    const bool is_rounded = leaf.fused || touched;
    touched = true;
    if (!is_rounded) continue;
    for (Index v = 0; v < count; ++v) {
      Vector size = sums[v] < 0 ? -sums[v] : sums[v];
      if (leaf.live != nullptr) {
        Vector live;
        std::memcpy(&live, leaf.live + row + v * kWidth, sizeof(live));
        size *= live;
      }
      roundings[v] += size;
    }
  }
  std::memcpy(leaf.sums + j, sums, sizeof(sums));
  std::memcpy(leaf.roundings + j, roundings, sizeof(roundings));
  return touched;
}

/// Returns whether some term was not certainly 0.
MESHPARITY_ALSO_FOR_AVX2 bool sum_leaf(const LeafSum& leaf) {
  bool touched = false;
  Index j = 0;
  for (; j + 8 <= leaf.columns; j += 8) touched = sum_columns<FourDoubles, 2>(leaf, j);
  for (; j + 4 <= leaf.columns; j += 4) touched = sum_columns<FourDoubles, 1>(leaf, j);
  for (; j < leaf.columns; ++j) touched = sum_columns<double, 1>(leaf, j);
  return touched;
}

/// The running error analysis of a sum (Higham, section 4.2). A node of the tree of additions that
/// should hold s gets fl(s_left + s_right): its own rounding adds at most u |s| (plus u times the
/// errors that come from below, which the factor (1 + gamma_depth) pays for), so
///
///     |error of the root| <= (1 + gamma_depth) * u * (sum of |s| over all nodes).
///
/// With terms of both signs the |s| stay far below sum |a b|, which is why this beats
/// gamma_n |A| |B|. The nodes follow the canonical order, with the oracle's values.
///
/// Row by row of the product, so that all of a row's sums stay in the cache.
class RunningSum {
 public:
  RunningSum(const Rounded& a, const Rounded& b, const Sum& sum)
      : a_(a),
        b_(b),
        fused_(sum.fused),
        leaves_(leaves_of(static_cast<std::size_t>(a.value.cols()), sum)),
        sums_(static_cast<Index>(tree_depth(leaves_.size())) + 1, b.value.cols()),
        roundings_(sums_.rows(), sums_.cols()) {
    // Where a factor is certainly 0, adding the term is exact.
    live_ = (b.value.array() != 0 || b.bound.array() != 0).cast<double>();
    all_live_ = (live_.array() == 1).all();
  }

  const std::vector<Range>& leaves() const { return leaves_; }

  /// The sums of |s|, if the leaves' sums are combined by the canonical tree.
  Matrix canonical_tree() {
    Matrix roundings = Matrix::Zero(a_.value.rows(), b_.value.cols());
    for (Index i = 0; i < roundings.rows(); ++i) {
      if (leaves_.empty()) break;
      tree(i, 0, leaves_.size(), 0);
      roundings.row(i) = roundings_.row(0);
    }
    return roundings;
  }

  /// The same if they are combined in an unknown order: above each leaf are at most (leaves - 1)
  /// additions, and each holds at most the sum of the |leaves| below it.
  Matrix any_tree() {
    Matrix roundings = Matrix::Zero(a_.value.rows(), b_.value.cols());
    Eigen::RowVectorXd magnitudes(b_.value.cols());
    for (Index i = 0; i < roundings.rows(); ++i) {
      magnitudes.setZero();
      double touched = 0;
      for (std::size_t j = 0; j < leaves_.size(); ++j) {
        touched += leaf(i, j, 0) ? 1 : 0;
        roundings.row(i) += roundings_.row(0);
        magnitudes += sums_.row(0).cwiseAbs();
      }
      roundings.row(i) += magnitudes * std::max(touched - 1, 0.0);
    }
    return roundings;
  }

 private:
  /// Of `count` leaves of row i: the sum and its sum of |s|, in row `level` of sums_ and
  /// roundings_. Uses the rows behind it. Returns whether some term was not certainly 0.
  bool tree(Index i, std::size_t first, std::size_t count, Index level) {
    if (count == 1) return leaf(i, first, level);
    std::size_t half = 1;
    while (half * 2 < count) half *= 2;
    const bool left = tree(i, first, half, level);
    const bool right = tree(i, first + half, count - half, level + 1);
    sums_.row(level) += sums_.row(level + 1);
    roundings_.row(level) += roundings_.row(level + 1);
    if (left && right) roundings_.row(level) += sums_.row(level).cwiseAbs();
    return left || right;
  }

  bool leaf(Index i, std::size_t number, Index level) {
    const Range terms = leaves_[number];
    const auto first = static_cast<Index>(terms.begin);
    return sum_leaf({.terms = static_cast<Index>(terms.size()),
                     .columns = sums_.cols(),
                     .factors = &a_.value.coeffRef(i, first),
                     .doubts = &a_.bound.coeffRef(i, first),
                     .rows = &b_.value.coeffRef(first, 0),
                     .live = all_live_ ? nullptr : &live_.coeffRef(first, 0),
                     .fused = fused_,
                     .sums = &sums_.coeffRef(level, 0),
                     .roundings = &roundings_.coeffRef(level, 0)});
  }

  const Rounded& a_;
  const Rounded& b_;
  bool fused_;
  std::vector<Range> leaves_;
  Matrix sums_;       // (levels of the tree, columns)
  Matrix roundings_;  // the same
  Matrix live_;       // 1, and 0 where a factor is certainly 0
  bool all_live_;
};

constexpr std::size_t kLanes = 16;

/// The same of a sum in lanes: a leaf at a time.
struct LaneSums {
  const Eigen::RowVectorXd& terms;
  const Eigen::RowVectorXd& doubts;
  bool fused = false;
  double roundings = 0;

  /// Its sum, and whether some term was not certainly 0.
  std::pair<double, bool> leaf(Range leaf) {
    std::array<double, kLanes> lanes{};
    std::array<bool, kLanes> touched{};
    for (std::size_t i = leaf.begin; i < leaf.end; ++i) {
      const auto k = static_cast<Index>(i);
      if (terms(k) == 0 && doubts(k) == 0) continue;
      const std::size_t lane = (i - leaf.begin) % kLanes;
      lanes[lane] += terms(k);
      if (fused || touched[lane]) roundings += std::abs(lanes[lane]);
      touched[lane] = true;
    }
    for (std::size_t step = 1; step < kLanes; step *= 2) {  // neighbours, then pairs of them ...
      for (std::size_t i = 0; i < kLanes; i += 2 * step) {
        lanes[i] += lanes[i + step];
        if (touched[i] && touched[i + step]) roundings += std::abs(lanes[i]);
        touched[i] = touched[i] || touched[i + step];
      }
    }
    return {lanes[0], touched[0]};
  }
};

}  // namespace

double gamma(std::size_t depth, const Arithmetic& arithmetic) {
  const double total = static_cast<double>(depth) * arithmetic.unit;
  if (!(total < 0.5)) throw std::overflow_error("a chain of additions is too long for any bound");
  return total / (1 - total);
}

std::size_t sum_depth(std::size_t terms, std::size_t grain, SumOrder order) {
  if (terms == 0) return 0;
  if (order == SumOrder::any) return terms;
  return std::min(grain, terms) + depth_over(leaves_of(terms, grain), order);
}

double lane_sum_bound(const Eigen::RowVectorXd& terms, const Eigen::RowVectorXd& doubts,
                      const Sum& sum, const Rules& rules) {
  const auto all = static_cast<std::size_t>(terms.size());
  const std::vector<Range> leaves = leaves_of(all, sum);
  LaneSums running{terms, doubts, sum.fused};
  double magnitudes = 0;
  double touched = 0;
  for (const Range leaf : leaves) {
    const auto [value, is_touched] = running.leaf(leaf);
    magnitudes += std::abs(value);
    if (is_touched) touched += 1;
  }
  // Above a leaf every addition holds at most the sum of the magnitudes of all.
  const double above = std::min(static_cast<double>(depth_over(leaves.size(), rules.order)),
                                std::max(touched - 1, 0.0));
  double roundings = running.roundings + above * magnitudes;
  std::size_t depth = (longest(leaves) + kLanes - 1) / kLanes + tree_depth(kLanes) +
                      depth_over(leaves.size(), rules.order);
  const double sizes = terms.cwiseAbs().sum();
  if (rules.order == SumOrder::any) {
    depth = std::max(depth, all);
    roundings = static_cast<double>(depth) * sizes;
  }
  // As in own_bound: partial sums of rounded terms, underflow, and this oracle's own sum.
  roundings += static_cast<double>(depth) * doubts.sum();
  const auto n = static_cast<double>(all);
  const double growth = 1 + gamma(depth, rules.arithmetic);
  return growth * rules.arithmetic.unit * roundings + kOracleUnit * (2 * n + 2) * sizes +
         growth * 2 * n * rules.arithmetic.underflow;
}

Matrix inherited_bound(const Rounded& a, const Rounded& b) {
  Matrix bound = Matrix::Zero(a.value.rows(), b.value.cols());
  // Weights are exact, and all that a block alone is given: most halves need no work.
  if (!a.bound.isZero(0)) bound += a.bound * (b.value.cwiseAbs() + b.bound);
  if (!b.bound.isZero(0)) bound += a.value.cwiseAbs() * b.bound;
  return bound;
}

Matrix own_bound(const Rounded& a, const Rounded& b, const Sum& sum, const Rules& rules) {
  return own_bound(a, b, inherited_bound(a, b), sum, rules);
}

Matrix own_bound(const Rounded& a, const Rounded& b, const Matrix& inherited, const Sum& sum,
                 const Rules& rules) {
  const auto terms = static_cast<std::size_t>(a.value.cols());
  const Matrix sizes = a.value.cwiseAbs() * b.value.cwiseAbs();
  std::size_t depth = terms;
  Matrix roundings;
  if (rules.order == SumOrder::any) {
    roundings = static_cast<double>(depth) * sizes;
  } else {
    RunningSum running(a, b, sum);
    const std::vector<Range>& leaves = running.leaves();
    depth = longest(leaves) + depth_over(leaves.size(), rules.order);
    roundings = rules.order == SumOrder::canonical ? running.canonical_tree() : running.any_tree();
  }
  // The roundings happen at partial sums of the rounded factors: each of the at most `depth`
  // partial sums that a term enters is larger by at most the term's inherited error.
  roundings += static_cast<double>(depth) * inherited;

  // At most 2 n operations may underflow; this oracle's own sum, in whatever order Eigen adds, is
  // within gamma_n |A| |B| of the exact one (so are the partial sums above; twice n covers both).
  const auto n = static_cast<double>(terms);
  const double growth = 1 + gamma(depth, rules.arithmetic);
  Matrix bound = growth * rules.arithmetic.unit * roundings + kOracleUnit * (2 * n + 2) * sizes;
  bound.array() += growth * 2 * n * rules.arithmetic.underflow;
  return bound;
}

Matrix product_bound(const Rounded& a, const Rounded& b, const Sum& sum, const Rules& rules) {
  const Matrix inherited = inherited_bound(a, b);
  return inherited + own_bound(a, b, inherited, sum, rules);
}

}  // namespace meshparity::rounding
