#pragma once

#include <vector>

#include "model/numerics/kernel_table.h"

/// The kernels exist for several instruction sets. All of them give the same bits; they differ in
/// speed alone.
namespace meshparity {

enum class Isa { scalar, neon, avx2, avx512 };

/// "scalar", "neon", "avx2", "avx512".
const char* name_of(Isa isa);

/// Those that were built and that this processor has, the fastest last.
std::vector<Isa> available_isas();

/// What the kernels use: the fastest, or the one that the environment variable MESHPARITY_ISA names
/// when a kernel is first called. Throws UsageError if it names one that is not available.
Isa isa_in_use();

/// Changes it, for this process. No kernel may be running.
void use_isa(Isa isa);

/// The kernels of an instruction set.
const KernelTable& kernels_of(Isa isa);

/// The same as use_isa, for kernels that belong to no instruction set: tests have such.
void use_kernels(const KernelTable& kernels);

/// The kernels of the instruction set in use.
const KernelTable& kernel_table();

}  // namespace meshparity
