// Tries the model's exp, log, tanh, erf, GELU and its derivative on every float, and the normal
// quantile on every number that initial values are made of. Exits 1 if an error is above its
// constant in functions.h, if a larger argument of a monotone function has a smaller result, if an
// odd function is not odd to the last bit, or if the vectorised loop and the scalar call differ in
// a bit.
//
// The C library's binary64 functions judge: they are right to about one unit of binary64, which is
// 2^-29 of the unit that errors are measured in. (Where GELU's derivative crosses zero, and for the
// quantile, they are those of `long double`.)
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "model/numerics/functions.h"
#include "model/numerics/inline_functions.h"
#include "property_tests/model/numerics/ulp_error.h"

// Loop and scalar calls are compiled for CPUs with a fused multiply-add. Without, each is a call of
// the C library's, ten times as long: the functions of functions.cpp are tried on a sample.
#ifdef __x86_64__
#define MESHPARITY_TARGET(features) [[gnu::target(features)]]
#else
#define MESHPARITY_TARGET(features)
#endif

namespace meshparity {
namespace {

constexpr std::uint64_t kFloats = std::uint64_t{1} << 32;
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kSampled = 61;  // a prime: the portable call is tried on every 61st

using Block = std::array<float, kBlock>;

struct Exp {
  static constexpr const char* name = "exp";
  static constexpr double bound = exp_max_ulp;
  static constexpr bool odd = false;
  static constexpr bool monotone = true;
  [[gnu::always_inline]] static float inlined(float x) { return portable_exp_inline(x); }
  static float called(float x) { return portable_exp(x); }
  /// The C library is slow where it reports overflow and underflow.
  static double exact(double x) {
    if (x < -200) return 0.0;
    return x > 200 ? std::numeric_limits<double>::infinity() : std::exp(x);
  }
};

struct Log {
  static constexpr const char* name = "log";
  static constexpr double bound = log_max_ulp;
  static constexpr bool odd = false;
  static constexpr bool monotone = true;
  [[gnu::always_inline]] static float inlined(float x) { return portable_log_inline(x); }
  static float called(float x) { return portable_log(x); }
  static double exact(double x) {
    return x < 0 ? std::numeric_limits<double>::quiet_NaN() : std::log(x);
  }
};

struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr double bound = tanh_max_ulp;
  static constexpr bool odd = true;
  static constexpr bool monotone = true;
  [[gnu::always_inline]] static float inlined(float x) { return portable_tanh_inline(x); }
  static float called(float x) { return portable_tanh(x); }
  static double exact(double x) { return std::tanh(x); }
};

struct Erf {
  static constexpr const char* name = "erf";
  static constexpr double bound = erf_max_ulp;
  static constexpr bool odd = true;
  static constexpr bool monotone = true;
  [[gnu::always_inline]] static float inlined(float x) { return portable_erf_inline(x); }
  static float called(float x) { return portable_erf(x); }
  static double exact(double x) { return std::erf(x); }
};

/// x / (1 + e^(-2u)), and its derivative.
template <typename Real>
struct ExactGelu {
  static constexpr Real kSqrt2OverPi = static_cast<Real>(0.797884560802865355879892119868763737L);

  explicit ExactGelu(Real given) : x(given) {
    s = 1 / (1 + std::exp(-2 * kSqrt2OverPi * x * (1 + kCubic * x * x)));
  }
  Real derivative() const {
    return s + x * s * (1 - s) * 2 * kSqrt2OverPi * (1 + 3 * kCubic * x * x);
  }
  static constexpr Real kCubic = static_cast<Real>(0.044715L);
  Real x;
  Real s;
};

struct Gelu {
  static constexpr const char* name = "gelu";
  static constexpr double bound = gelu_max_ulp;
  static constexpr bool odd = false;
  static constexpr bool monotone = false;
  [[gnu::always_inline]] static float inlined(float x) { return portable_gelu_inline(x); }
  static float called(float x) { return portable_gelu(x); }
  static double exact(double x) {
    if (x < -20) return -0.0;
    return x > 20 ? x : x * ExactGelu<double>(x).s;
  }
};

struct GeluDerivative {
  static constexpr const char* name = "gelu'";
  static constexpr double bound = gelu_derivative_max_ulp;
  static constexpr bool odd = false;
  static constexpr bool monotone = false;
  [[gnu::always_inline]] static float inlined(float x) {
    return portable_gelu_derivative_inline(x);
  }
  static float called(float x) { return portable_gelu_derivative(x); }
  static double exact(double x) {
    if (std::abs(x) > 20) return x < 0 ? -0.0 : 1.0;
    if (x < -0.75 && x > -0.754) return static_cast<double>(ExactGelu<long double>(x).derivative());
    return ExactGelu<double>(x).derivative();
  }
};

template <typename Function>
[[gnu::always_inline]] inline void loop_over(const Block& x, Block& results) {
  for (std::size_t i = 0; i < kBlock; ++i) results[i] = Function::inlined(x[i]);
}

template <typename Function>
MESHPARITY_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
void wide_loop(const Block& x, Block& results) {
  loop_over<Function>(x, results);
}

template <typename Function>
MESHPARITY_TARGET("avx2,fma")
void narrow_loop(const Block& x, Block& results) {
  loop_over<Function>(x, results);
}

template <typename Function>
void baseline_loop(const Block& x, Block& results) {
  loop_over<Function>(x, results);
}

/// A call for every element, so one at a time.
template <typename Function>
MESHPARITY_TARGET("fma")
[[gnu::noinline]] float fused_call(float x) {
  return Function::inlined(x);
}

template <typename Function>
void fused_calls(const Block& x, Block& results) {
  for (std::size_t i = 0; i < kBlock; ++i) results[i] = fused_call<Function>(x[i]);
}

template <typename Function>
void baseline_calls(const Block& x, Block& results) {
  for (std::size_t i = 0; i < kBlock; ++i) results[i] = Function::called(x[i]);
}

/// The widest loop of this CPU, and scalar calls.
template <typename Function>
struct Implementation {
  void (*loop)(const Block&, Block&) = baseline_loop<Function>;
  void (*calls)(const Block&, Block&) = baseline_calls<Function>;

  Implementation() {
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
    loop = __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
               ? wide_loop<Function>
               : narrow_loop<Function>;
    calls = fused_calls<Function>;
#endif
  }
};

/// Float number i in increasing order: NaN, -infinity ... -0, +0 ... infinity, NaN.
float float_number(std::uint64_t i) {
  const auto bits = static_cast<std::uint32_t>(i);
  return std::bit_cast<float>((bits & 0x80000000U) != 0 ? bits & 0x7FFFFFFFU : ~bits);
}

/// NaN are all the same.
bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

/// The first argument whose results differ goes into an empty `list`.
void compare(const Block& x, const Block& a, const Block& b, std::vector<float>& list) {
  const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), same_bits);
  if (differ.first == a.end() || !list.empty()) return;
  list.push_back(x[static_cast<std::size_t>(differ.first - a.begin())]);
}

/// What was seen, and the first argument of each kind of failure.
struct Findings {
  std::uint64_t inputs = 0;
  double worst_ulp = 0;
  float worst_at = 0;
  std::vector<float> falls;
  std::vector<float> not_odd;
  std::vector<float> loop_differs;

  void add(const Findings& other) {
    inputs += other.inputs;
    if (other.worst_ulp > worst_ulp) {
      worst_ulp = other.worst_ulp;
      worst_at = other.worst_at;
    }
    falls.insert(falls.end(), other.falls.begin(), other.falls.end());
    not_odd.insert(not_odd.end(), other.not_odd.begin(), other.not_odd.end());
    loop_differs.insert(loop_differs.end(), other.loop_differs.begin(), other.loop_differs.end());
  }
};

/// The block of floats from number `first` on. `before`: the result for the float below them.
template <typename Function>
void examine(const Implementation<Function>& function, std::uint64_t first, float before,
             Findings& found) {
  Block x;
  Block results;
  Block others;
  for (std::size_t i = 0; i < kBlock; ++i) x[i] = float_number(first + i);
  function.loop(x, results);
  function.calls(x, others);
  compare(x, results, others, found.loop_differs);
  if (Function::odd) {
    Block negative;
    for (std::size_t i = 0; i < kBlock; ++i) negative[i] = -x[i];
    function.loop(negative, others);
    for (std::size_t i = 0; i < kBlock; ++i) others[i] = -others[i];
    compare(x, results, others, found.not_odd);
  }
  for (std::size_t i = first % kSampled; i < kBlock; i += kSampled) {
    if (same_bits(Function::called(x[i]), results[i])) continue;
    found.loop_differs.push_back(x[i]);
    break;
  }
  for (std::size_t i = 0; i < kBlock; ++i) {
    if (Function::monotone && results[i] < before && found.falls.empty())
      found.falls.push_back(x[i]);
    before = results[i];
    const double error = ulp_error(results[i], Function::exact(static_cast<double>(x[i])));
    if (error > found.worst_ulp) {
      found.worst_ulp = error;
      found.worst_at = x[i];
    }
  }
  found.inputs += kBlock;
}

/// All floats, by as many threads as there are processors.
template <typename Function>
Findings examine_all() {
  const std::size_t workers = std::max(1U, std::thread::hardware_concurrency());
  std::vector<Findings> findings(workers);
  std::vector<std::thread> threads;
  for (std::size_t worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&findings, worker, workers] {
      const Implementation<Function> function;
      for (std::uint64_t block = worker; block < kFloats / kBlock; block += workers) {
        const std::uint64_t first = block * kBlock;
        const float before = first == 0 ? std::numeric_limits<float>::quiet_NaN()
                                        : Function::called(float_number(first - 1));
        examine(function, first, before, findings[worker]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Findings all;
  for (const Findings& part : findings) all.add(part);
  return all;
}

std::string verdict(const std::vector<float>& failures) {
  if (failures.empty()) return "yes";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "NO, at %a", static_cast<double>(failures.front()));
  return text.data();
}

/// Prints the function's row, adds it to `rows`, and returns whether everything holds.
template <typename Function>
bool prove(nlohmann::ordered_json& rows) {
  const Findings found = examine_all<Function>();
  const bool ok = found.worst_ulp <= Function::bound && found.falls.empty() &&
                  found.not_odd.empty() && found.loop_differs.empty();
  const std::string odd = Function::odd ? verdict(found.not_odd) : "-";
  const std::string monotone = Function::monotone ? verdict(found.falls) : "-";
  std::printf("%-8s  %10llu  %9.6f  %8.4f  %15a  %-8s  %-4s  %-14s  %s\n", Function::name,
              static_cast<unsigned long long>(found.inputs), found.worst_ulp, Function::bound,
              static_cast<double>(found.worst_at), monotone.c_str(), odd.c_str(),
              verdict(found.loop_differs).c_str(), ok ? "yes" : "NO");
  std::fflush(stdout);
  rows.push_back({{"name", Function::name},
                  {"inputs", found.inputs},
                  {"worst_ulp", found.worst_ulp},
                  {"bound_ulp", Function::bound},
                  {"worst_at", static_cast<double>(found.worst_at)},
                  {"monotone", Function::monotone && found.falls.empty()},
                  {"odd", Function::odd && found.not_odd.empty()},
                  {"loop_equals_call", found.loop_differs.empty()},
                  {"proven", ok}});
  return ok;
}

/// normal_quantile of the middles of all 2^24 intervals that a random number may fall into.
bool prove_quantile(nlohmann::ordered_json& rows) {
  constexpr std::uint64_t kMiddles = std::uint64_t{1} << 24;
  double worst = 0;
  double worst_at = 0;
  bool falls = false;
  bool odd = true;
  double before = normal_quantile(0x1p-26);
  for (std::uint64_t i = 0; i < kMiddles; ++i) {
    const double u = (static_cast<double>(i) + 0.5) * 0x1p-24;
    const double z = normal_quantile(u);
    falls = falls || z <= before;
    odd = odd && normal_quantile(1.0 - u) == -z;
    before = z;
    const long double wide = z;
    const long double below = std::erfc(-wide * 0.707106781186547524400844362104849039L) / 2;
    const long double density =
        std::exp(-wide * wide / 2) * 0.398942280401432677939946059934381868L;
    const auto error = static_cast<double>(std::abs((below - u) / (density * wide)));
    if (error > worst) worst_at = u;
    worst = std::max(worst, error);
  }
  const bool ok = worst <= normal_quantile_max_error && !falls && odd;
  std::printf("quantile: %llu inputs, relative error %.3g (limit %.3g) at %a, %s, %s, proven: %s\n",
              static_cast<unsigned long long>(kMiddles), worst, normal_quantile_max_error, worst_at,
              falls ? "NOT MONOTONE" : "monotone", odd ? "odd" : "NOT ODD", ok ? "yes" : "NO");
  rows.push_back({{"name", "normal quantile"},
                  {"inputs", kMiddles},
                  {"worst_relative", worst},
                  {"bound_relative", normal_quantile_max_error},
                  {"monotone", !falls},
                  {"odd", odd},
                  {"proven", ok}});
  return ok;
}

}  // namespace

/// Returns the exit status.
int every_float(const std::string& json_path) {
  std::printf("%-8s  %10s  %9s  %8s  %15s  %-8s  %-4s  %-14s  %s\n", "function", "inputs",
              "error/ulp", "limit", "at", "monotone", "odd", "loop = scalar", "proven");
  nlohmann::ordered_json json;
  nlohmann::ordered_json& rows = json["functions"];
  bool ok = prove<Exp>(rows);
  ok = prove<Log>(rows) && ok;
  ok = prove<Tanh>(rows) && ok;
  ok = prove<Erf>(rows) && ok;
  ok = prove<Gelu>(rows) && ok;
  ok = prove<GeluDerivative>(rows) && ok;
  ok = prove_quantile(rows) && ok;
  if (!json_path.empty()) {
    std::ofstream file(json_path);
    file << json.dump(2) << "\n";
    file.close();
    if (!file) {
      std::fprintf(stderr, "error: cannot write %s\n", json_path.c_str());
      return 3;
    }
  }
  return ok ? 0 : 1;
}

}  // namespace meshparity

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (!arguments.empty() && (arguments.size() != 2 || arguments[0] != "--json")) {
      std::fprintf(stderr, "usage: functions_every_float [--json FILE]\n");
      return 2;
    }
    return meshparity::every_float(arguments.empty() ? "" : arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 3;
  }
}
