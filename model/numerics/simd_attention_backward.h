#pragma once

// The backward pass of causal attention for one instruction set. Only simd_kernels.cpp includes
// this. Like the forward pass it works on a block of queries at a time; what the block gives to the
// gradients of keys and values is added to sums that wait in memory.

#include "model/numerics/simd_attention.h"
#include "model/numerics/simd_row_sums.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

/// What the backward pass of a head works in. Copies of rows are (rows, padded).
struct AttentionBackwardMemory {
  std::size_t padded;
  std::size_t stride;    // keys of a row of scores
  float* turned_keys;    // for scores
  float* turned_values;  // for the gradients of probabilities
  float* keys;
  float* queries;           // of the block
  float* output_gradients;  // of the block
  float* weights;           // (kQueryBlock, stride): scores, then probabilities after dropout
  float* score_gradients;   // (kQueryBlock, stride)
  float* factors;
  PartTree query_gradients;  // of the block
  PartTree key_gradients;
  PartTree value_gradients;

  AttentionBackwardMemory(const AttentionTask& task, Scratch& scratch)
      : padded(round_up(task.head_size, kLanes)),
        stride(round_up(task.positions, kStrip)),
        turned_keys(scratch.take(stride * task.head_size)),
        turned_values(scratch.take(stride * task.head_size)),
        keys(scratch.take(task.positions * padded)),
        queries(scratch.take(kQueryBlock * padded)),
        output_gradients(scratch.take(kQueryBlock * padded)),
        weights(scratch.take(kQueryBlock * stride)),
        score_gradients(scratch.take(kQueryBlock * stride)),
        factors(scratch.take(task.positions + kDropoutMargin)),
        query_gradients{},
        key_gradients{},
        value_gradients{} {
    query_gradients.take_from(scratch, task.parts, kQueryBlock * padded);
    key_gradients.take_from(scratch, task.parts, task.positions * padded);
    value_gradients.take_from(scratch, task.parts, task.positions * padded);
  }
};

/// The scores of one row become probabilities after dropout; the gradients of what these are
/// multiplied with become gradients of the scores.
void differentiate_row(const AttentionTask& task, const HeadPlace& place, std::size_t query,
                       const AttentionBackwardMemory& memory, float* weights, float* gradients) {
  const std::size_t d = task.head_size;
  const std::size_t kept = (place.first_row + query) * task.heads + place.head;
  const float sum = task.saved_sums[kept];
  for (std::size_t k = 0; k <= query; k += kLanes) {
    store(weights + k, load(weights + k) * task.scale);
  }
  powers_of(query + 1, task.saved_largest[kept], weights);
  const float* const output = task.saved_output + kept * d;
  const float* const output_gradient = task.output_gradient + kept * d;
  const float common = leaf_of_row(d, [&](Vector partial, std::size_t c, auto lanes) {
    return fma(lanes.load(output_gradient + c), lanes.load(output + c), partial);
  });
  const bool drops = task.dropout.probability > 0.0F;
  const float* const factors = drops ? factors_of(task, place, query, memory.factors) : nullptr;
  for (std::size_t k = 0; k <= query; k += kLanes) {
    const Vector probability = load(weights + k) / sum;
    Vector gradient = load(gradients + k);
    Vector weight = probability;
    if (drops) {
      gradient = drop(gradient, load(factors + k));
      weight = drop(weight, load(factors + k));
    }
    store(weights + k, weight);
    store(gradients + k, probability * (gradient - common));
  }
}

/// Adds to each key's sum what the queries of a block that see it give: weight * row.
void add_over_queries(PartRange queries, const float* weights, std::size_t stride,
                      const float* rows, std::size_t padded, float* sums) {
  ChainTask chains{.left = weights,
                   .left_row_stride = 1,
                   .left_term_stride = stride,
                   .right = rows,
                   .right_term_stride = padded,
                   .terms = queries.end - queries.begin,
                   .sums = sums,
                   .sums_row_stride = padded,
                   .goes_on = true};
  for (std::size_t k = 0; k < queries.begin; k += kTileRows) {
    const std::size_t count = queries.begin - k < kTileRows ? queries.begin - k : kTileRows;
    chains.left = weights + k;
    chains.sums = sums + k * padded;
    add_chains_of_rows<Terms::all>(chains, count, padded);
  }
  for (std::size_t k = queries.begin; k < queries.end; k += kTileRows) {
    const std::size_t count = queries.end - k < kTileRows ? queries.end - k : kTileRows;
    const std::size_t before = k - queries.begin;  // queries that see none of these keys
    chains.left = weights + before * stride + k;
    chains.right = rows + before * padded;
    chains.terms = queries.end - k;
    chains.sums = sums + k * padded;
    add_chains_of_rows<Terms::from_row>(chains, count, padded);
  }
}

/// Rows of finished sums, each times `factor`, to where their gradients belong.
void write_rows(const float* sums, std::size_t padded, float factor, std::size_t rows,
                std::size_t d, float* to, std::size_t stride) {
  for (std::size_t r = 0; r < rows; ++r, sums += padded, to += stride) {
    scale(d, sums, factor, to);
  }
}

void differentiate_block(const AttentionTask& task, const HeadPlace& place, PartRange queries,
                         const AttentionBackwardMemory& memory, float* query_gradient) {
  const std::size_t d = task.head_size;
  const std::size_t stride = qkv_stride(task);
  const std::size_t count = queries.end - queries.begin;
  const std::size_t output_stride = task.heads * d;
  const float* const query = place.query + queries.begin * stride;
  const float* const output_gradient =
      task.output_gradient + (place.first_row + queries.begin) * output_stride + place.head * d;
  copy_rows(query, stride, count, d, memory.padded, memory.queries);
  copy_rows(output_gradient, output_stride, count, d, memory.padded, memory.output_gradients);
  products_with_turned(task, query, stride, queries, memory.turned_keys, memory.weights,
                       memory.stride);
  products_with_turned(task, output_gradient, output_stride, queries, memory.turned_values,
                       memory.score_gradients, memory.stride);
  for (std::size_t q = 0; q < count; ++q) {
    differentiate_row(task, place, queries.begin + q, memory, memory.weights + q * memory.stride,
                      memory.score_gradients + q * memory.stride);
  }
  sum_over_keys(task, queries, memory.score_gradients, memory.stride, memory.keys, memory.padded,
                memory.query_gradients);
  write_rows(memory.query_gradients.leaf, memory.padded, task.scale, count, d,
             query_gradient + queries.begin * stride, stride);
  add_over_queries(queries, memory.weights, memory.stride, memory.output_gradients, memory.padded,
                   memory.value_gradients.leaf);
  add_over_queries(queries, memory.score_gradients, memory.stride, memory.queries, memory.padded,
                   memory.key_gradients.leaf);
}

void differentiate_head(const AttentionTask& task, const HeadPlace& place,
                        const AttentionBackwardMemory& memory) {
  const std::size_t d = task.head_size;
  const std::size_t stride = qkv_stride(task);
  const std::size_t size = task.positions * memory.padded;
  float* const gradient = task.qkv_gradient + (place.query - task.qkv);
  turn_rows(place.query + d, stride, task.positions, d, memory.turned_keys);
  turn_rows(place.query + 2 * d, stride, task.positions, d, memory.turned_values);
  copy_rows(place.query + d, stride, task.positions, d, memory.padded, memory.keys);
  std::size_t key_depth = 0;
  std::size_t value_depth = 0;
  for (std::size_t part = 0;; ++part) {
    const PartRange queries = part_range(task, part);
    // Keys that no query of this part sees keep +0, as everything skipped does.
    for (std::size_t i = 0; i < size; ++i) memory.key_gradients.leaf[i] = 0.0F;
    for (std::size_t i = 0; i < size; ++i) memory.value_gradients.leaf[i] = 0.0F;
    for_each_block(queries, [&](PartRange block) {
      differentiate_block(task, place, block, memory, gradient);
    });
    if (queries.end == task.positions) break;
    memory.key_gradients.push(part, key_depth, size);
    memory.value_gradients.push(part, value_depth, size);
  }
  memory.key_gradients.finish(key_depth, size);
  memory.value_gradients.finish(value_depth, size);
  write_rows(memory.key_gradients.leaf, memory.padded, task.scale, task.positions, d, gradient + d,
             stride);
  write_rows(memory.value_gradients.leaf, memory.padded, 1.0F, task.positions, d, gradient + 2 * d,
             stride);
}

void attention_backward(const AttentionTask& task) {
  if (task.positions == 0) return;
  Scratch scratch{task.scratch, 0};
  const AttentionBackwardMemory memory(task, scratch);
  for_each_head(task, [&](const HeadPlace& place) { differentiate_head(task, place, memory); });
}

std::size_t attention_scratch(const AttentionTask& task) {
  Scratch forward{nullptr, 0};
  Scratch backward{nullptr, 0};
  (void)AttentionMemory(task, forward);
  (void)AttentionBackwardMemory(task, backward);
  return forward.used < backward.used ? backward.used : forward.used;
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
