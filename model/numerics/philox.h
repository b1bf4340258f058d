#pragma once

#include <array>
#include <cstdint>
#include <string_view>

/// Randomness as a function of coordinates: no generator has a state, no rank draws a number that
/// belongs to another.
namespace meshparity {

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC'11).
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// What a number is for; part of the key.
enum class Stream : std::uint32_t { initial_parameters = 1, batch = 2, sampling = 3, dropout = 4 };

/// The numbers of one purpose.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, Stream stream);

  /// The 32 random bits at global coordinates (x, y).
  std::uint32_t bits(std::uint64_t x, std::uint64_t y) const;

  std::array<std::uint32_t, 2> key() const { return key_; }

 private:
  std::array<std::uint32_t, 2> key_{};
};

/// The same for a single number.
std::uint32_t random_bits(std::uint64_t seed, Stream stream, std::uint64_t x, std::uint64_t y);

/// A float in [0, 1): the upper 24 of 32 bits.
inline float unit_float(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24F; }

/// The middle of that float's interval, in (0, 1): (bits / 2^8 + 1/2) * 2^-24.
inline double unit_midpoint(std::uint32_t bits) {
  return (static_cast<double>(bits >> 8) + 0.5) * 0x1p-24;
}

/// A 64-bit name for a string (FNV-1a), to use as a coordinate.
std::uint64_t coordinate_of(std::string_view name);
/// Of a longer string, given that of its beginning.
std::uint64_t coordinate_of(std::string_view rest, std::uint64_t beginning);

}  // namespace meshparity
