#include "model/numerics/philox.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using Output = std::array<std::uint32_t, 4>;

// The known answers that Random123 publishes (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Output{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Output{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Output{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

RC_GTEST_PROP(Philox, EveryBitOfEveryCoordinateMatters, ()) {
  const std::uint64_t seed = *random::any_seed();
  const std::uint64_t x = *random::any_seed();
  const std::uint64_t y = *random::any_seed();
  std::set<std::uint32_t> seen{random_bits(seed, Stream::batch, x, y),
                               random_bits(seed, Stream::sampling, x, y),
                               random_bits(seed, Stream::initial_parameters, x, y)};
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t flip = std::uint64_t{1} << bit;
    seen.insert(random_bits(seed ^ flip, Stream::batch, x, y));
    seen.insert(random_bits(seed, Stream::batch, x ^ flip, y));
    seen.insert(random_bits(seed, Stream::batch, x, y ^ flip));
  }
  // 195 different coordinates: among 2^32 values two coincidences have a chance below 1e-10.
  RC_ASSERT(seen.size() >= 194U);
  RC_ASSERT(random_bits(seed, Stream::batch, x, y) == random_bits(seed, Stream::batch, x, y));
}

TEST(Philox, NeighbouringSeedsAndStreamsShareNothing) {
  // If streams overlapped, seed s with stream t would repeat seed s' with stream t'.
  std::set<std::uint32_t> seen;
  std::size_t drawn = 0;
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    for (const Stream stream : {Stream::initial_parameters, Stream::batch, Stream::sampling}) {
      for (std::uint64_t x = 0; x < 8; ++x) {
        for (std::uint64_t y = 0; y < 8; ++y, ++drawn) {
          seen.insert(random_bits(seed, stream, x, y));
        }
      }
    }
  }
  EXPECT_GE(seen.size(), drawn - 2);  // 3072 draws: 0.001 coincidences are to be expected
}

TEST(Philox, BitsAreEven) {
  // Chi-squared over 256 bins: mean 255, standard deviation sqrt(2 * 255); six of them.
  constexpr std::size_t kBins = 256;
  constexpr std::size_t kDraws = std::size_t{1} << 16;
  for (const unsigned shift : {0U, 12U, 24U}) {
    std::array<double, kBins> counts{};
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      counts[(random_bits(1, Stream::batch, i / 256, i % 256) >> shift) % kBins] += 1;
    }
    double chi_squared = 0;
    const double expected = static_cast<double>(kDraws) / kBins;
    for (const double count : counts) {
      chi_squared += (count - expected) * (count - expected) / expected;
    }
    EXPECT_LT(std::abs(chi_squared - 255), 6 * std::sqrt(2 * 255.0)) << "bits from " << shift;
  }
}

TEST(Philox, UnitFloatsLieInTheHalfOpenInterval) {
  EXPECT_EQ(unit_float(0), 0.0F);
  EXPECT_EQ(unit_float(0xFF), 0.0F);
  EXPECT_EQ(unit_float(0x100), 0x1p-24F);
  EXPECT_EQ(unit_float(0x80000000), 0.5F);
  EXPECT_EQ(unit_float(0xFFFFFFFF), 1.0F - 0x1p-24F);
  EXPECT_LT(unit_float(0xFFFFFFFF), 1.0F);
}

RC_GTEST_PROP(Philox, UnitFloatsAreExact, ()) {
  const auto bits =
      static_cast<std::uint32_t>(*random::from_to(0, std::numeric_limits<std::uint32_t>::max()));
  RC_ASSERT(static_cast<double>(unit_float(bits)) == std::floor(bits / 256.0) * 0x1p-24);
}

// From the authors' test suite (draft-eastlake-fnv, 64-bit FNV-1a).
TEST(Philox, NamesAreHashedByFnv1a) {
  EXPECT_EQ(coordinate_of(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(coordinate_of("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(coordinate_of("b"), 0xaf63df4c8601f1a5ULL);
  EXPECT_EQ(coordinate_of("foobar"), 0x85944171f73967e8ULL);
  // A byte above 127 is not sign-extended.
  EXPECT_EQ(coordinate_of("\xff"), (0xcbf29ce484222325ULL ^ 0xff) * 0x100000001b3ULL);
}

}  // namespace
}  // namespace meshparity
