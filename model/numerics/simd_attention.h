#pragma once

// Causal attention for one instruction set. Only the kernels include this.
//
// One head of one sample at a time. Its keys and values are copied so that lanes lie along keys for
// the scores, and along features for the output. Then a block of queries at a time: its scores, its
// powers, and what they take from the values stay in the cache.

#include "model/numerics/simd_chains.h"
#include "model/numerics/simd_dropout.h"
#include "model/numerics/simd_elementwise.h"
#include "model/numerics/simd_pack.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

constexpr std::size_t kQueryBlock = kTileRows > 1 ? 4 * kTileRows : 16;
constexpr std::size_t kPartDepth = 48;  // of the tree over parts: more than memory can hold

[[gnu::always_inline]] inline std::size_t round_up(std::size_t size, std::size_t unit) {
  return (size + unit - 1) / unit * unit;
}

/// Positions [begin, end) of part `part`, of those at hand.
struct PartRange {
  std::size_t begin;
  std::size_t end;
};

[[gnu::always_inline]] inline PartRange part_range(const AttentionTask& task, std::size_t part) {
  const std::size_t begin = part * task.part;
  const std::size_t end = begin + task.part;
  const bool last = part + 1 == task.parts;  // it takes what comes after it as well
  return {begin < task.positions ? begin : task.positions,
          !last && end < task.positions ? end : task.positions};
}

/// Takes memory from the scratch, whole vectors at a time.
struct Scratch {
  float* next;
  std::size_t used;

  [[gnu::always_inline]] inline float* take(std::size_t floats) {
    float* const taken = next == nullptr ? nullptr : next + used;
    used += round_up(floats, kLanes);
    return taken;
  }
};

/// The tree over the parts of a sample, for buffers of sums. A part adds its leaf to all others by
/// a binary counter: `nodes` are those so far, left to right, each of `size` floats.
struct PartTree {
  float* leaf;
  float* nodes;
  std::size_t size;

  static std::size_t nodes_of(std::size_t parts) {
    std::size_t depth = 0;
    for (; parts > 1; parts /= 2) ++depth;
    return depth;
  }

  void take_from(Scratch& scratch, std::size_t parts, std::size_t floats) {
    size = floats;
    leaf = scratch.take(floats);
    nodes = scratch.take(floats * nodes_of(parts));
  }

  /// leaf = node `depth` + leaf, for the first `used` floats.
  [[gnu::always_inline]] inline void merge(std::size_t depth, std::size_t used) const {
    add(used, nodes + depth * size, leaf, leaf);
  }

  /// Part number `part` (from 0) is complete in `leaf`, the next one follows.
  void push(std::size_t part, std::size_t& depth, std::size_t used) const {
    for (std::size_t i = 0; i < used; ++i) leaf[i] = leaf[i] + 0.0F;
    for (std::size_t n = part + 1; n % 2 == 0; n /= 2) merge(--depth, used);
    float* const node = nodes + depth++ * size;
    for (std::size_t i = 0; i < used; ++i) node[i] = leaf[i];
  }

  /// The last part is complete: the whole sum comes to stand in `leaf`.
  void finish(std::size_t depth, std::size_t used) const {
    for (std::size_t i = 0; i < used; ++i) leaf[i] = leaf[i] + 0.0F;
    while (depth > 0) merge(--depth, used);
  }
};

/// One head of one sample.
struct HeadPlace {
  std::size_t first_row;  // of the sample
  std::size_t head;
  const float* query;  // of the first row; key and value follow it
};

[[gnu::always_inline]] inline std::size_t qkv_stride(const AttentionTask& task) {
  return 3 * task.heads * task.head_size;
}

/// Rows of `d` features, stride apart, next to each other and padded with 0 to `padded`.
void copy_rows(const float* from, std::size_t stride, std::size_t rows, std::size_t d,
               std::size_t padded, float* to) {
  for (std::size_t r = 0; r < rows; ++r, from += stride, to += padded) {
    for_each_vector(d, [&](std::size_t c, auto lanes) { store(to + c, lanes.load(from + c)); });
  }
}

/// Rows of `d` features so that lanes lie along rows: to[(row / kStrip * d + feature) * kStrip +
/// row % kStrip], padded with 0.
void turn_rows(const float* from, std::size_t stride, std::size_t rows, std::size_t d, float* to) {
  for (; rows >= kStrip; rows -= kStrip) {
    for (std::size_t r = 0; r < kStrip; r += kLanes) {
      pack_rows<kLanes>(from + r * stride, kLanes, kLanes, stride, d, 1, to + r, kStrip);
    }
    from += kStrip * stride;
    to += kStrip * d;
  }
  for (std::size_t f = 0; rows > 0 && f < d; ++f) {
    for (std::size_t r = 0; r < kStrip; ++r) {
      to[f * kStrip + r] = r < rows ? from[r * stride + f] : 0.0F;
    }
  }
}

/// Products of rows (queries, or their gradients) with all turned rows that the last of them sees:
/// one chain over the features for each.
void products_with_turned(const AttentionTask& task, const float* rows, std::size_t row_stride,
                          PartRange queries, const float* turned, float* scores,
                          std::size_t scores_stride) {
  const std::size_t d = task.head_size;
  for (std::size_t key = 0; key < queries.end; key += kStrip) {
    for (std::size_t q = queries.begin; q < queries.end; q += kTileRows) {
      const std::size_t count = queries.end - q < kTileRows ? queries.end - q : kTileRows;
      if (q + count <= key) continue;
      const std::size_t visible = q + count - key;
      add_chains<Terms::all>({.left = rows + (q - queries.begin) * row_stride,
                              .left_row_stride = row_stride,
                              .left_term_stride = 1,
                              .right = turned + key * d,
                              .right_term_stride = kStrip,
                              .terms = d,
                              .sums = scores + (q - queries.begin) * scores_stride + key,
                              .sums_row_stride = scores_stride,
                              .goes_on = false},
                             count, visible <= kLanes ? 1 : kStripVectors);
    }
  }
}

/// For each query of a block, the sum over the keys it sees of weight * row, by parts; it comes to
/// stand in `tree.leaf` (queries, padded).
void sum_over_keys(const AttentionTask& task, PartRange queries, const float* weights,
                   std::size_t weights_stride, const float* rows, std::size_t padded,
                   const PartTree& tree) {
  const std::size_t used = (queries.end - queries.begin) * padded;
  std::size_t depth = 0;
  for (std::size_t part = 0;; ++part) {
    const PartRange keys = part_range(task, part);
    const bool own = queries.end <= keys.end;
    for (std::size_t q = queries.begin; q < queries.end; q += kTileRows) {
      const std::size_t count = queries.end - q < kTileRows ? queries.end - q : kTileRows;
      const ChainTask chains{.left = weights + (q - queries.begin) * weights_stride + keys.begin,
                             .left_row_stride = weights_stride,
                             .left_term_stride = 1,
                             .right = rows + keys.begin * padded,
                             .right_term_stride = padded,
                             .terms = (own ? q + count : keys.end) - keys.begin,
                             .sums = tree.leaf + (q - queries.begin) * padded,
                             .sums_row_stride = padded,
                             .goes_on = false};
      if (own) {
        add_chains_of_rows<Terms::to_row>(chains, count, padded);
      } else {
        add_chains_of_rows<Terms::all>(chains, count, padded);
      }
    }
    if (own) break;
    tree.push(part, depth, used);
  }
  tree.finish(depth, used);
}

/// e^(x - subtracted), in place; there is room for whole vectors.
[[gnu::always_inline]] inline void powers_of(std::size_t size, float subtracted, float* x) {
  const std::size_t whole = round_up(size, kLanes);
  for (std::size_t i = size; i < whole; ++i) x[i] = subtracted;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    store(x + i, exponential(load(x + i) - subtracted));
  }
}

/// The sum of the powers of the first `visible` keys, by parts.
float sum_of_powers(const AttentionTask& task, std::size_t visible, const float* powers) {
  float nodes[kPartDepth];
  std::size_t depth = 0;
  for (std::size_t part = 0;; ++part) {
    const PartRange keys = part_range(task, part);
    const std::size_t end = visible < keys.end ? visible : keys.end;
    float node = sum_of_leaf(end - keys.begin, powers + keys.begin);
    for (std::size_t n = part + 1; n % 2 == 0; n /= 2) node = nodes[--depth] + node;
    if (end == visible) {
      while (depth > 0) node = nodes[--depth] + node;
      return node;
    }
    nodes[depth++] = node;
  }
}

/// The factors of dropout of one row and head, for the first `visible` keys.
[[gnu::always_inline]] inline const float* factors_of(const AttentionTask& task,
                                                      const HeadPlace& place, std::size_t query,
                                                      float* room) {
  const std::uint64_t feature = (task.first_head + place.head) * task.sequence;
  return dropout_factors(task.dropout, task.dropout.first_row + place.first_row + query, feature,
                         query + 1, room);
}

/// Multiplies scores with the scale; returns the largest. A largest zero is +0.
[[gnu::always_inline]] inline float scale_scores(std::size_t size, float scale, float* scores) {
  Vector largest = broadcast(-__builtin_inff());
  const std::size_t whole = round_up(size, kLanes);
  for (std::size_t i = size; i < whole; ++i) scores[i] = -__builtin_inff();
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Vector score = load(scores + i) * scale;
    store(scores + i, score);
    largest = score > largest ? score : largest;
  }
  float result = largest[0];
  for (std::size_t l = 1; l < kLanes; ++l) result = largest[l] > result ? largest[l] : result;
  return result + 0.0F;
}

/// What the forward pass of a head works in.
struct AttentionMemory {
  std::size_t padded;         // features of a row
  std::size_t scores_stride;  // keys of a row
  float* keys;                // turned
  float* values;              // (positions, padded)
  float* scores;              // (kQueryBlock, scores_stride)
  float* factors;
  PartTree output;

  AttentionMemory(const AttentionTask& task, Scratch& scratch)
      : padded(round_up(task.head_size, kLanes)),
        scores_stride(round_up(task.positions, kStrip)),
        keys(scratch.take(scores_stride * task.head_size)),
        values(scratch.take(task.positions * padded)),
        scores(scratch.take(kQueryBlock * scores_stride)),
        factors(scratch.take(task.positions + kDropoutMargin)),
        output{} {
    output.take_from(scratch, task.parts, kQueryBlock * padded);
  }
};

/// Powers of a block's scores, and what the forward pass keeps of them.
void take_powers(const AttentionTask& task, const HeadPlace& place, PartRange queries,
                 const AttentionMemory& memory) {
  for (std::size_t q = queries.begin; q < queries.end; ++q) {
    float* const row = memory.scores + (q - queries.begin) * memory.scores_stride;
    const std::size_t kept = (place.first_row + q) * task.heads + place.head;
    task.largest[kept] = scale_scores(q + 1, task.scale, row);
    powers_of(q + 1, task.largest[kept], row);
    task.sums[kept] = sum_of_powers(task, q + 1, row);
    if (task.dropout.probability > 0.0F) {
      const float* const factors = factors_of(task, place, q, memory.factors);
      for (std::size_t k = 0; k <= q; k += kLanes) {
        store(row + k, drop(load(row + k), load(factors + k)));
      }
    }
  }
}

void attend_block(const AttentionTask& task, const HeadPlace& place, PartRange queries,
                  const AttentionMemory& memory) {
  const std::size_t d = task.head_size;
  products_with_turned(task, place.query + queries.begin * qkv_stride(task), qkv_stride(task),
                       queries, memory.keys, memory.scores, memory.scores_stride);
  take_powers(task, place, queries, memory);
  sum_over_keys(task, queries, memory.scores, memory.scores_stride, memory.values, memory.padded,
                memory.output);
  for (std::size_t q = queries.begin; q < queries.end; ++q) {
    const std::size_t row = place.first_row + q;
    const float sum = task.sums[row * task.heads + place.head];
    const float* const from = memory.output.leaf + (q - queries.begin) * memory.padded;
    float* const to = task.output + (row * task.heads + place.head) * d;
    for_each_vector(
        d, [&](std::size_t c, auto lanes) { lanes.store(to + c, lanes.load(from + c) / sum); });
  }
}

/// body(queries) for each block of queries, none of them in two parts.
template <typename Body>
[[gnu::always_inline]] inline void for_each_block(PartRange part, Body body) {
  for (std::size_t q = part.begin; q < part.end; q += kQueryBlock) {
    body(PartRange{q, part.end - q < kQueryBlock ? part.end : q + kQueryBlock});
  }
}

/// body(place) for each head of each sample.
template <typename Body>
[[gnu::always_inline]] inline void for_each_head(const AttentionTask& task, Body body) {
  for (std::size_t sample = 0; sample < task.samples; ++sample) {
    for (std::size_t head = 0; head < task.heads; ++head) {
      const std::size_t row = sample * task.positions;
      body(HeadPlace{row, head, task.qkv + row * qkv_stride(task) + head * 3 * task.head_size});
    }
  }
}

void attention(const AttentionTask& task) {
  Scratch scratch{task.scratch, 0};
  const AttentionMemory memory(task, scratch);
  const std::size_t d = task.head_size;
  for_each_head(task, [&](const HeadPlace& place) {
    turn_rows(place.query + d, qkv_stride(task), task.positions, d, memory.keys);
    copy_rows(place.query + 2 * d, qkv_stride(task), task.positions, d, memory.padded,
              memory.values);
    for (std::size_t part = 0; part < task.parts; ++part) {
      for_each_block(part_range(task, part),
                     [&](PartRange queries) { attend_block(task, place, queries, memory); });
    }
  });
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
