#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace meshparity::bench {

/// Does a piece of work once.
using Action = std::function<void()>;

/// How much is measured: each contestant works for about `seconds` in each of `rounds`.
struct Effort {
  std::size_t rounds = 21;
  double seconds = 0.002;
};

/// Seconds of processor time that one call takes: [contestant][round]. Contestants take turns, and
/// another one is first in each round, so that other work on the machine disturbs all of them
/// alike. (Google Benchmark measures each turn, but has no such order of its own.) Processor time,
/// because it stands still while another process has the core.
std::vector<std::vector<double>> paired_seconds(std::span<const Action> contestants,
                                                const Effort& effort = {});

/// Seconds of wall time that one call of `work` takes; `before` is called first and not timed.
double wall_seconds(const Action& before, const Action& work);

/// Throws std::logic_error if there are no values.
double median(std::vector<double> values);

/// The value that this fraction of the values is below. For wall times a low fraction says more
/// than the median: other work on the machine can only make them longer.
double quantile(std::vector<double> values, double fraction);

/// The median over the rounds of a[round] / b[round].
double paired_ratio(std::span<const double> a, std::span<const double> b);

}  // namespace meshparity::bench
