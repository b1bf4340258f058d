#pragma once

#include <cstddef>

// Before a function: g++ compiles it once more, for processors that have AVX2, and the loader
// chooses. The operations are the same, several at a time, so the numbers are. (Sanitizers are not
// ready when the loader chooses, and coverage would count a copy that it does not choose.)
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                       \
    !defined(MESHPARITY_COVERAGE)
#define MESHPARITY_ALSO_FOR_AVX2 [[gnu::target_clones("avx2", "default")]]
#else
#define MESHPARITY_ALSO_FOR_AVX2
#endif
