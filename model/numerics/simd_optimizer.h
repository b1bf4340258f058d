#pragma once

// AdamW for one instruction set. Only simd_kernels.cpp includes this.

#include "model/numerics/kernel_table.h"
#include "model/numerics/simd.h"

// Compiled once per instruction set: internal linkage keeps the builds apart.
// NOLINTBEGIN(google-build-namespaces, misc-definitions-in-headers)
namespace meshparity {
namespace {

void adamw_update(const AdamWTask& task) {
  const Vector beta1 = broadcast(task.beta1);
  const Vector beta2 = broadcast(task.beta2);
  const Vector shrink = broadcast(-task.decay);
  const Vector step = broadcast(-task.step_size);
  for_each_vector(task.size, [&](std::size_t i, auto lanes) {
    const Vector g = task.clip * lanes.load(task.gradient + i);
    const Vector m = fma(beta1, lanes.load(task.first_moment + i), task.one_minus_beta1 * g);
    const Vector v = fma(beta2, lanes.load(task.second_moment + i), (task.one_minus_beta2 * g) * g);
    Vector w = lanes.load(task.values + i);
    if (task.decays) w = fma(shrink, w, w);
    const Vector direction = m / (square_root(v) * task.inverse_root + task.epsilon);
    lanes.store(task.first_moment + i, m);
    lanes.store(task.second_moment + i, v);
    lanes.store(task.values + i, fma(step, direction, w));
  });
}

}  // namespace
}  // namespace meshparity
// NOLINTEND(google-build-namespaces, misc-definitions-in-headers)
