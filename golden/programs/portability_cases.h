#pragma once

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "golden/files/sha256.h"
#include "golden/programs/portability.h"
#include "model/numerics/philox.h"
#include "oracle/compare.h"

/// What the checks of kernels draw, and how they judge.
namespace meshparity {

inline constexpr std::size_t kCases = 300;

/// The random numbers of one case.
class Draw {
 public:
  explicit Draw(std::uint64_t number) : number_(number) {}

  /// In [low, high].
  std::size_t from_to(std::size_t low, std::size_t high) { return low + bits() % (high - low + 1); }

  /// Ordinary values, or those that processors may treat differently; a case mixes kinds.
  std::vector<float> floats(std::size_t count) {
    const std::size_t kind = (number_ + 2 * vectors_++) % 5;
    std::vector<float> values(count);
    for (float& value : values) value = kind == 4 ? any_float() : value_of(kind);
    return values;
  }

 private:
  std::uint32_t bits() { return random_bits(20260101, Stream::sampling, number_, next_++); }
  float any_float() { return std::bit_cast<float>(bits()); }

  float value_of(std::size_t kind) {
    const float ordinary = 2.0F * unit_float(bits()) - 1.0F;
    if (kind == 1) return ordinary * 0x1p-126F;  // subnormal
    if (kind == 2)
      return bits() % 3 == 0 ? std::copysign(0.0F, ordinary)  // zeros of both signs
                             : ordinary * 0x1p-75F;           // products underflow
    if (kind == 3 && bits() % 64 == 0) return any_float();    // now and then infinity, NaN
    return ordinary;
  }

  std::uint64_t number_;
  std::uint64_t next_ = 0;
  std::size_t vectors_ = 0;
};

/// Collects a kernel's results and what its definition gives.
class Judge {
 public:
  explicit Judge(const char* name) { check_.name = name; }

  void compare(std::size_t number, std::span<const float> actual, std::span<const float> expected) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (same_float(actual[i], expected[i])) {
        ++check_.same;
      } else if (check_.difference.empty()) {
        check_.difference =
            fmt::format("{}, case {}, element {}: expected {:a}, got {:a}", check_.name, number, i,
                        static_cast<double>(expected[i]), static_cast<double>(actual[i]));
      }
    }
    check_.compared += expected.size();
    bytes_ += portable_bytes(actual);
  }

  PortabilityCheck verdict() {
    check_.sha256 = sha256(bytes_);
    return check_;
  }

 private:
  PortabilityCheck check_;
  std::string bytes_;
};

}  // namespace meshparity
