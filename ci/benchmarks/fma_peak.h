#pragma once

#include <cstddef>

namespace meshparity::bench {

/// `steps` rounds of fused multiply-adds in registers, enough independent chains to keep every unit
/// busy. They return the number of floating point operations done; the results of the arithmetic
/// are kept from being optimised away.
double fma_chains_avx2(std::size_t steps);
double fma_chains_avx512(std::size_t steps);

}  // namespace meshparity::bench
