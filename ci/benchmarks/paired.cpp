#include "ci/benchmarks/paired.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace meshparity::bench {
namespace {

/// Keeps the one result that comes in, and prints nothing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& /*context*/) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override { result_ = runs.back(); }

  std::size_t calls() const { return static_cast<std::size_t>(result_.iterations); }
  double processor_seconds() const {
    return result_.cpu_accumulated_time / static_cast<double>(calls());
  }
  double wall_seconds() const {
    return result_.real_accumulated_time / static_cast<double>(calls());
  }

 private:
  Run result_;
};

/// Has Google Benchmark call `work` after `before`: as often as `settings` say.
template <typename Settings>
Collector run(const Action& before, const Action& work, Settings settings) {
  benchmark::ClearRegisteredBenchmarks();
  settings(benchmark::RegisterBenchmark("contestant", [&](benchmark::State& state) {
    before();
    while (state.KeepRunning()) work();
  }));
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  return collector;
}

}  // namespace

std::vector<std::vector<double>> paired_seconds(std::span<const Action> contestants,
                                                const Effort& effort) {
  const std::size_t count = contestants.size();
  std::vector<std::size_t> calls;  // how many fill the time, found out once
  for (const Action& action : contestants) {
    const auto found = run(action, action, [&](auto* b) { b->MinTime(effort.seconds); });
    const double wanted = effort.seconds / found.processor_seconds();
    calls.push_back(std::max(std::size_t{1}, static_cast<std::size_t>(std::round(wanted))));
  }
  std::vector<std::vector<double>> seconds(count, std::vector<double>(effort.rounds));
  for (std::size_t round = 0; round < effort.rounds; ++round) {
    for (std::size_t turn = 0; turn < count; ++turn) {
      const std::size_t c = (round + turn) % count;
      // A call that is not timed first, which brings the contestant's data back into the caches.
      const auto measured = run(contestants[c], contestants[c], [&](auto* b) {
        b->Iterations(static_cast<benchmark::IterationCount>(calls[c]));
      });
      seconds[c][round] = measured.processor_seconds();
    }
  }
  return seconds;
}

double wall_seconds(const Action& before, const Action& work) {
  return run(before, work, [](auto* b) { b->Iterations(1); }).wall_seconds();
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
