#pragma once

// Stops a compiler that was told to change what floating point operations give: NUMERICS.md,
// section 1. Those of its options that leave no trace here stop CMake (forbidden_options.cmake),
// and what got past both, a program that computes other bits (premises.h).

#if defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ != 0 || defined(__NO_SIGNED_ZEROS__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "The numerics contract needs IEEE arithmetic: compile without -ffast-math and its parts."
#endif
#if defined(__GCC_IEC_559) && __GCC_IEC_559 < 2
#error "The numerics contract needs IEEE arithmetic: an option of this compilation gives it up."
#endif
#if __FLT_EVAL_METHOD__ != 0
#error "The numerics contract needs float arithmetic in float: compile without -mfpmath=387."
#endif
