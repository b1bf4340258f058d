#pragma once

// Dropout for one instruction set. Only the kernels include this.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

// Counters at once: a loop that the compiler makes vectors of.
constexpr std::size_t kCounters = 16;
/// What `dropout_factors` may write more than it was asked for.
constexpr std::size_t kDropoutMargin = 4 * (kCounters + 1);

/// Philox4x32-10 (philox.h) of kCounters counters that follow each other in the first word:
/// word w of counter i to bits[w][i].
[[gnu::always_inline]] inline void philox(const DropoutTask& task, std::uint32_t first,
                                          std::uint32_t row, std::uint32_t (&bits)[4][kCounters]) {
  std::uint32_t key0 = task.key[0];
  std::uint32_t key1 = task.key[1];
  for (std::size_t i = 0; i < kCounters; ++i) {
    bits[0][i] = first + static_cast<std::uint32_t>(i);
    bits[1][i] = row;
    bits[2][i] = task.step;
    bits[3][i] = task.place;
  }
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < kCounters; ++i) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * bits[0][i];
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * bits[2][i];
      bits[0][i] = static_cast<std::uint32_t>(product1 >> 32) ^ bits[1][i] ^ key0;
      bits[1][i] = static_cast<std::uint32_t>(product1);
      bits[2][i] = static_cast<std::uint32_t>(product0 >> 32) ^ bits[3][i] ^ key1;
      bits[3][i] = static_cast<std::uint32_t>(product0);
    }
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

/// For `count` features of a row, from `feature` on: `scale` where it is kept, 0 where it is
/// dropped. They stand where the result points to, somewhere in `room`, which has space for
/// count + kDropoutMargin floats.
const float* dropout_factors(const DropoutTask& task, std::uint64_t row, std::uint64_t feature,
                             std::size_t count, float* room) {
  const std::size_t skipped = feature % 4;
  for (std::size_t done = 0; done < skipped + count; done += 4 * kCounters) {
    std::uint32_t bits[4][kCounters];
    philox(task, static_cast<std::uint32_t>((feature + done) / 4), static_cast<std::uint32_t>(row),
           bits);
    for (std::size_t i = 0; i < kCounters; ++i) {
      for (std::size_t w = 0; w < 4; ++w) {
        const auto unit = static_cast<float>(static_cast<std::int32_t>(bits[w][i] >> 8)) * 0x1p-24F;
        room[done + 4 * i + w] = unit >= task.probability ? task.scale : 0.0F;
      }
    }
  }
  return room + skipped;
}

/// Kept values times their factor, the others +0 by selection.
[[gnu::always_inline]] inline Vector drop(const Vector& values, const Vector& factors) {
  return factors > 0.0F ? values * factors : Vector{};
}

void apply_dropout(const DropoutTask& task, std::size_t rows, std::size_t columns, float* values) {
  constexpr std::size_t kChunk = 256;
  float room[kChunk + kDropoutMargin];
  for (std::size_t r = 0; r < rows; ++r, values += columns) {
    for (std::size_t first = 0; first < columns; first += kChunk) {
      const std::size_t count = columns - first < kChunk ? columns - first : kChunk;
      const float* const factors = dropout_factors(task, task.first_row + r, first, count, room);
      float* const chunk = values + first;
      for_each_vector(count, [&](std::size_t c, auto lanes) {
        lanes.store(chunk + c, drop(lanes.load(chunk + c), lanes.load(factors + c)));
      });
    }
  }
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
