#pragma once

/// How the processor is told to compute. The numerics contract (NUMERICS.md, section 1) needs
/// rounding to nearest, and subnormal numbers that are neither flushed as results nor taken for
/// zero as operands. That is state of a thread, which those that it starts inherit, and libraries
/// change it: one that was linked with -ffast-math does so when it is loaded.
namespace meshparity {

/// Sets it for the calling thread or fiber. Throws EnvironmentError if the processor still
/// computes otherwise.
void set_floating_point_environment();

/// Throws EnvironmentError that says what has been changed.
void check_floating_point_environment();

}  // namespace meshparity
