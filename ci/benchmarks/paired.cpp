#include "ci/benchmarks/paired.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <stdexcept>

namespace meshparity::bench {
namespace {

double seconds_of(const Action& action, std::size_t calls) {
  const double begin = thread_seconds();
  for (std::size_t i = 0; i < calls; ++i) action();
  return thread_seconds() - begin;
}

/// Calls that fill `seconds`; warms caches, and code that is generated on first use, too.
std::size_t calls_filling(const Action& action, double seconds) {
  action();
  std::size_t calls = 1;
  double spent = seconds_of(action, calls);
  while (spent < seconds / 4) {
    calls *= 2;
    spent = seconds_of(action, calls);
  }
  const double wanted = std::round(static_cast<double>(calls) * seconds / spent);
  return std::max(std::size_t{1}, static_cast<std::size_t>(wanted));
}

}  // namespace

double thread_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::vector<std::vector<double>> paired_seconds(std::span<const Action> contestants,
                                                const Effort& effort) {
  const std::size_t count = contestants.size();
  std::vector<std::size_t> calls;
  for (const Action& action : contestants) calls.push_back(calls_filling(action, effort.seconds));
  std::vector<std::vector<double>> seconds(count, std::vector<double>(effort.rounds));
  for (std::size_t round = 0; round < effort.rounds; ++round) {
    for (std::size_t turn = 0; turn < count; ++turn) {
      const std::size_t c = (round + turn) % count;
      contestants[c]();  // brings its own data back into the caches
      seconds[c][round] = seconds_of(contestants[c], calls[c]) / static_cast<double>(calls[c]);
    }
  }
  return seconds;
}

double median(std::vector<double> values) {
  if (values.empty()) throw std::logic_error("median of nothing");
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double quantile(std::vector<double> values, double fraction) {
  if (values.empty()) throw std::logic_error("quantile of nothing");
  const auto index = static_cast<std::ptrdiff_t>(fraction * static_cast<double>(values.size()));
  std::nth_element(values.begin(), values.begin() + index, values.end());
  return values[static_cast<std::size_t>(index)];
}

double paired_ratio(std::span<const double> a, std::span<const double> b) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < a.size(); ++round) ratios.push_back(a[round] / b[round]);
  return median(ratios);
}

}  // namespace meshparity::bench
