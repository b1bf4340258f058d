// Tries portable_exp and portable_log on every float: prints the largest errors and where they are;
// exits 1 if one is above its constant or if a larger argument has a smaller result.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <thread>

#include "model/math.h"
#include "property_tests/ulp_error.h"

namespace meshparity {
namespace {

constexpr std::size_t kThreads = 2;
constexpr std::uint64_t kFloats = std::uint64_t{1} << 32;

/// Float number i in increasing order: NaN, -infinity ... -0, +0 ... infinity, NaN.
float float_number(std::uint64_t i) {
  const auto bits = static_cast<std::uint32_t>(i);
  return std::bit_cast<float>((bits & 0x80000000U) != 0 ? bits & 0x7FFFFFFFU : ~bits);
}

struct Worst {
  double ulps = 0;
  float at = 0;
  bool monotone = true;
  float falls_at = 0;
};

/// Floats number [begin, end).
template <typename Function, typename Exact>
Worst worst_of(std::uint64_t begin, std::uint64_t end, Function function, Exact exact) {
  Worst worst;
  float before = std::numeric_limits<float>::quiet_NaN();
  for (std::uint64_t i = begin; i < end; ++i) {
    const float x = float_number(i);
    const float result = function(x);
    const double error = ulp_error(result, exact(static_cast<double>(x)));
    if (error > worst.ulps) worst = {error, x, worst.monotone, worst.falls_at};
    if (result < before && worst.monotone) {
      worst.monotone = false;
      worst.falls_at = x;
    }
    before = result;
  }
  return worst;
}

template <typename Function, typename Exact>
bool check(const char* name, double bound, Function function, Exact exact) {
  std::array<Worst, kThreads> worst;
  std::array<std::thread, kThreads> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads[t] = std::thread([&, t] {
      // Each starts one early, so that the seam is compared too.
      const std::uint64_t begin = kFloats / kThreads * t;
      worst[t] = worst_of(begin - (t > 0 ? 1 : 0), kFloats / kThreads * (t + 1), function, exact);
    });
  }
  for (std::thread& thread : threads) thread.join();

  const Worst& largest = *std::max_element(
      worst.begin(), worst.end(), [](const Worst& a, const Worst& b) { return a.ulps < b.ulps; });
  std::printf("%s: largest error %.6f ulp (limit %.6f) at %a\n", name, largest.ulps, bound,
              static_cast<double>(largest.at));
  bool ok = largest.ulps <= bound;
  for (const Worst& part : worst) {
    if (part.monotone) continue;
    std::printf("%s: falls at %a\n", name, static_cast<double>(part.falls_at));
    ok = false;
  }
  return ok;
}

}  // namespace

bool every_float_is_right() {
  const bool exp_ok = check("exp", exp_max_ulp, portable_exp, [](double x) { return std::exp(x); });
  const bool log_ok = check("log", log_max_ulp, portable_log, [](double x) { return std::log(x); });
  return exp_ok && log_ok;
}

}  // namespace meshparity

int main() { return meshparity::every_float_is_right() ? 0 : 1; }
