#include "model/numerics/philox.h"

namespace meshparity {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53U;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57U;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9U;  // golden ratio
constexpr std::uint32_t kWeyl1 = 0xBB67AE85U;  // sqrt(3) - 1

constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1),
               high(product0) ^ counter[3] ^ key[1], low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

RandomStream::RandomStream(std::uint64_t seed, Stream stream) {
  // The key has room for 64 bits: the stream is folded into the seed by one Philox call, so that
  // streams of neighbouring seeds do not overlap.
  const auto mixed =
      philox4x32({low(seed), high(seed), static_cast<std::uint32_t>(stream), 0}, {0, 0});
  key_ = {mixed[0], mixed[1]};
}

std::uint32_t RandomStream::bits(std::uint64_t x, std::uint64_t y) const {
  return philox4x32({low(x), high(x), low(y), high(y)}, key_)[0];
}

std::uint32_t random_bits(std::uint64_t seed, Stream stream, std::uint64_t x, std::uint64_t y) {
  return RandomStream(seed, stream).bits(x, y);
}

std::uint64_t coordinate_of(std::string_view name) {
  return coordinate_of(name, 0xCBF29CE484222325ULL);
}

std::uint64_t coordinate_of(std::string_view rest, std::uint64_t beginning) {
  std::uint64_t hash = beginning;
  for (const char byte : rest) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001B3ULL;
  }
  return hash;
}

}  // namespace meshparity
