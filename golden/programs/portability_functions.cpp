#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "golden/files/sha256.h"
#include "golden/programs/portability.h"
#include "model/numerics/functions.h"
#include "model/numerics/inline_functions.h"
#include "oracle/compare.h"

namespace meshparity {
namespace {

/// All kinds of floats: a stride through all of them, odd so that every bit varies, and the
/// neighbours of every power of two, of zero, infinity and NaN.
std::vector<float> inputs() {
  constexpr std::uint64_t kStride = 4099;
  std::vector<float> floats;
  for (std::uint64_t bits = 0; bits >> 32 == 0; bits += kStride) {
    floats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  for (std::uint32_t exponent = 0; exponent < 0x200; ++exponent) {  // with the sign above it
    for (std::uint32_t near = 0; near < 5; ++near) {
      floats.push_back(std::bit_cast<float>((exponent << 23) + near - 2));
    }
  }
  return floats;
}

using Floats = std::span<const float>;

void exp_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_exp_inline(x[i]);
}
void log_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_log_inline(x[i]);
}
void tanh_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_tanh_inline(x[i]);
}
void erf_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_erf_inline(x[i]);
}

void gelu_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_gelu_inline(x[i]);
}
void gelu_derivative_loop(Floats x, std::span<float> y) {
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = portable_gelu_derivative_inline(x[i]);
}

PortabilityCheck check(const char* name, void (*loop)(Floats, std::span<float>),
                       float (*call)(float), Floats x) {
  PortabilityCheck result{name, x.size(), 0, "", ""};
  std::vector<float> results(x.size());
  loop(x, results);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float called = call(x[i]);
    if (same_float(results[i], called)) {
      ++result.same;
    } else if (result.difference.empty()) {
      result.difference =
          fmt::format("{}({:a}): {:a} in a loop, {:a} alone", name, static_cast<double>(x[i]),
                      static_cast<double>(results[i]), static_cast<double>(called));
    }
  }
  result.sha256 = sha256(portable_bytes(results));
  return result;
}

/// The functions in binary64, whose results are compared between machines by their hash alone.
/// Here: that they are odd around 1/2, to the last bit.
PortabilityCheck check_odd_around_half(const char* name, double (*function)(double)) {
  constexpr std::uint32_t kPoints = 1U << 17;
  PortabilityCheck result{name, kPoints, 0, "", ""};
  std::vector<float> pieces;  // of the results: their bits in three pieces
  for (std::uint32_t i = 0; i < kPoints; ++i) {
    const double x = (i + 0.5) / kPoints;
    const double y = function(x);
    const double other = -function(1.0 - x);
    const auto bits = std::bit_cast<std::uint64_t>(y);
    pieces.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits >> 32)));
    pieces.push_back(static_cast<float>(bits >> 16 & 0xFFFFU));
    pieces.push_back(static_cast<float>(bits & 0xFFFFU));
    if (y == other) {
      ++result.same;
    } else if (result.difference.empty()) {
      result.difference = fmt::format("{}({:a}): {:a}, but {:a} mirrored", name, x, y, other);
    }
  }
  result.sha256 = sha256(portable_bytes(pieces));
  return result;
}

}  // namespace

std::string portable_bytes(std::span<const float> values) {
  std::string bytes;
  bytes.reserve(values.size() * sizeof(float));
  for (const float value : values) {
    const std::uint32_t bits =
        std::isnan(value) ? 0x7FC00000U : std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(bits >> shift & 0xFFU));
    }
  }
  return bytes;
}

std::vector<PortabilityCheck> check_portable_functions() {
  const std::vector<float> x = inputs();
  return {check("exp", exp_loop, portable_exp, x),
          check("log", log_loop, portable_log, x),
          check("tanh", tanh_loop, portable_tanh, x),
          check("erf", erf_loop, portable_erf, x),
          check("gelu", gelu_loop, portable_gelu, x),
          check("gelu'", gelu_derivative_loop, portable_gelu_derivative, x),
          check_odd_around_half("normal quantile", normal_quantile),
          check_odd_around_half("cos(pi q)", portable_cos_pi)};
}

}  // namespace meshparity
