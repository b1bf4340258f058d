#pragma once

// Kernels that walk over rows and elements, for one instruction set. Only simd_kernels.cpp includes
// this.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd.h"
#include "model/numerics/simd_functions.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

void finish_rows(std::size_t rows, std::size_t columns, const float* bias, bool relu,
                 float* matrix) {
  for (std::size_t r = 0; r < rows; ++r, matrix += columns) {
    for_each_vector(columns, [&](std::size_t c, auto lanes) {
      Vector y = lanes.load(matrix + c);
      if (bias != nullptr) y = y + lanes.load(bias + c);
      if (relu) y = y <= 0.0F ? Vector{} : y;
      lanes.store(matrix + c, y);
    });
  }
}

void relu_backward(std::size_t size, const float* output, float* gradient) {
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    const Vector y = lanes.load(output + i);
    const Vector dy = lanes.load(gradient + i);
    lanes.store(gradient + i, y > 0.0F ? dy : Vector{});
  });
}

void add(std::size_t size, const float* a, const float* b, float* output) {
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    lanes.store(output + i, lanes.load(a + i) + lanes.load(b + i));
  });
}

void add_rows(std::size_t rows, std::size_t columns, const float* matrix, float* sums) {
  constexpr std::size_t kVectors = 8;  // at once: whole cache lines, and as many chains
  std::size_t done = 0;
  for (; rows > 1 && done + kVectors * kLanes <= columns; done += kVectors * kLanes) {
    const float* row = matrix + done;
    Vector sum[kVectors];
    MESHPARITY_UNROLL for (std::size_t v = 0; v < kVectors; ++v) {
      sum[v] = load(sums + done + v * kLanes);
    }
    for (std::size_t r = 0; r < rows; ++r, row += columns) {
      MESHPARITY_UNROLL for (std::size_t v = 0; v < kVectors; ++v) {
        sum[v] = sum[v] + load(row + v * kLanes);
      }
    }
    MESHPARITY_UNROLL for (std::size_t v = 0; v < kVectors; ++v) {
      store(sums + done + v * kLanes, sum[v]);
    }
  }
  matrix += done;
  sums += done;
  const std::size_t stride = columns;
  for_each_vector(columns - done, [&](std::size_t c, auto lanes) {
    Vector sum = lanes.load(sums + c);
    for (std::size_t r = 0; r < rows; ++r) sum = sum + lanes.load(matrix + r * stride + c);
    lanes.store(sums + c, sum);
  });
}

void gather_rows(std::size_t rows, std::size_t columns, const float* table,
                 const std::int32_t* indices, float* output) {
  for (std::size_t r = 0; r < rows; ++r, output += columns) {
    const float* const row = table + static_cast<std::size_t>(indices[r]) * columns;
    for_each_vector(
        columns, [&](std::size_t c, auto lanes) { lanes.store(output + c, lanes.load(row + c)); });
  }
}

void scatter_add_rows(std::size_t rows, std::size_t columns, const float* matrix,
                      const std::int32_t* indices, float* table) {
  for (std::size_t first = 0, end = 0; first < rows; first = end) {
    // Neighbours often have the same index (padding): their sum stays in a register.
    while (end < rows && indices[end] == indices[first]) ++end;
    float* const row = table + static_cast<std::size_t>(indices[first]) * columns;
    for_each_vector(columns, [&](std::size_t c, auto lanes) {
      Vector sum = lanes.load(row + c);
      for (std::size_t r = first; r < end; ++r) sum = sum + lanes.load(matrix + r * columns + c);
      lanes.store(row + c, sum);
    });
  }
}

/// One leaf of a sum along contiguous memory: 16 virtual lanes, whatever the processor has.
float sum_of_leaf(std::size_t size, const float* values) {
  constexpr std::size_t kVirtualLanes = 16;
  constexpr std::size_t kVectors = kVirtualLanes / kLanes;
  Vector sum[kVectors]{};
  std::size_t i = 0;
  for (; i + kVirtualLanes <= size; i += kVirtualLanes) {
    for (std::size_t v = 0; v < kVectors; ++v) sum[v] = sum[v] + load(values + i + v * kLanes);
  }
  // A lane without a term adds +0, which changes no lane: none of them can be -0.
  for (std::size_t v = 0; i < size; ++v, i += kLanes) {
    sum[v] = sum[v] + (size - i < kLanes ? load_first(values + i, size - i) : load(values + i));
  }
  float lane[kVirtualLanes];
  for (std::size_t v = 0; v < kVectors; ++v) store(lane + v * kLanes, sum[v]);
  for (std::size_t span = 1; span < kVirtualLanes; span *= 2) {
    for (std::size_t l = 0; l < kVirtualLanes; l += 2 * span) lane[l] = lane[l] + lane[l + span];
  }
  return lane[0];
}

float row_sum(std::size_t size, const float* values, std::size_t grain) {
  float stack[48];  // the nodes so far, left to right
  std::size_t depth = 0;
  std::size_t rest = size;
  for (std::size_t leaf = 1;; ++leaf) {
    const std::size_t terms = grain < rest ? grain : rest;
    float node = sum_of_leaf(terms, values);
    values += terms;
    rest -= terms;
    for (std::size_t n = leaf; n % 2 == 0; n /= 2) node = stack[--depth] + node;
    if (rest == 0) {
      while (depth > 0) node = stack[--depth] + node;
      return node;
    }
    stack[depth++] = node;
  }
}

float largest_of(std::size_t size, const float* values) {
  float largest = values[0];
  if (size >= kLanes) {
    // The last vector may cover elements a second time.
    Vector lanes = load(values + size - kLanes);
    for (std::size_t i = 0; i + kLanes < size; i += kLanes) {
      const Vector next = load(values + i);
      lanes = next > lanes ? next : lanes;
    }
    for (std::size_t l = 0; l < kLanes; ++l) largest = lanes[l] > largest ? lanes[l] : largest;
  } else {
    for (std::size_t i = 0; i < size; ++i) largest = values[i] > largest ? values[i] : largest;
  }
  return largest;
}

/// The largest of any number of values: NaN if one is, -infinity of none. A largest zero is +0,
/// whichever zeros there are.
float largest_or_nan(std::size_t size, const float* values) {
  float largest = -__builtin_inff();
  Vector in_lane = broadcast(largest);
  std::size_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vector next = load(values + i);
    // Nothing replaces a NaN. NOLINTNEXTLINE(misc-redundant-expression): only a NaN is not itself
    in_lane = ((next > in_lane) | (next != next)) ? next : in_lane;
  }
  const auto take = [&](float next) {
    if (next > largest || next != next) largest = next;
  };
  for (std::size_t lane = 0; lane < kLanes; ++lane) take(in_lane[lane]);
  for (; i < size; ++i) take(values[i]);
  return largest + 0.0F;
}

void powers_of_rows(std::size_t rows, std::size_t columns, const float* matrix,
                    const float* largest, float* powers) {
  for (std::size_t r = 0; r < rows; ++r) {
    const float* const z = matrix + r * columns;
    float* const power = powers + r * columns;
    const float of_row = largest[r];
    for_each_vector(columns, [&](std::size_t c, auto lanes) {
      lanes.store(power + c, exponential(lanes.load(z + c) - of_row));
    });
  }
}

void gelu(std::size_t size, float* values_then_slopes, float* output) {
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    const Vector x = lanes.load(values_then_slopes + i);
    lanes.store(output + i, gelu_of(x));
    lanes.store(values_then_slopes + i, gelu_derivative_of(x));
  });
}

void gelu_backward(std::size_t size, const float* slopes, float* gradient) {
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    lanes.store(gradient + i, lanes.load(gradient + i) * lanes.load(slopes + i));
  });
}

void softmax(const SoftmaxTask& task) {
  const std::size_t columns = task.columns;
  for (std::size_t r = 0; r < task.rows; ++r) {
    const float* const z = task.logits + r * columns;
    float* const p = task.probabilities + r * columns;
    const float largest = largest_of(columns, z);
    task.largest[r] = largest;
    for_each_vector(columns, [&](std::size_t c, auto lanes) {
      lanes.store(p + c, exponential(lanes.load(z + c) - largest));
    });
    const float sum = row_sum(columns, p, task.grain);
    task.log_sum[r] = sum;
    for_each_vector(
        columns, [&](std::size_t c, auto lanes) { lanes.store(p + c, lanes.load(p + c) / sum); });
  }
  for (std::size_t r = 0; r < task.rows; ++r) {
    task.log_sum[r] = portable_log_inline(task.log_sum[r]);
  }
}

void scale(std::size_t size, const float* values, float factor, float* output) {
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    lanes.store(output + i, lanes.load(values + i) * factor);
  });
}

void sgd_update(std::size_t size, const float* gradient, float clip, float lr, float* values) {
  const Vector step = broadcast(-lr);
  for_each_vector(size, [&](std::size_t i, auto lanes) {
    // With a factor of 1 the product is the gradient itself.
    lanes.store(values + i, fma(step, clip * lanes.load(gradient + i), lanes.load(values + i)));
  });
}

/// The finaliser of MurmurHash3: a bijection of 64 bits in which every input bit can change every
/// output bit.
[[gnu::always_inline]] inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDULL;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53ULL;
  return x ^ (x >> 33);
}

std::uint64_t digest(std::size_t size, const float* values, std::uint64_t coordinate) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    sum += mix(mix(coordinate + i) ^ __builtin_bit_cast(std::uint32_t, values[i]));
  }
  return sum;
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
