#include "model/numerics/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "model/error.h"

namespace meshparity {

extern const KernelTable kernel_table_scalar;
#ifdef MESHPARITY_WITH_AVX
extern const KernelTable kernel_table_avx2;
extern const KernelTable kernel_table_avx512;
#endif
#ifdef MESHPARITY_WITH_NEON
extern const KernelTable kernel_table_neon;
#endif

namespace {

/// The fastest, or the one that was asked for.
Isa chosen_isa() {
  const std::vector<Isa> available = available_isas();
  const char* const wanted = std::getenv("MESHPARITY_ISA");
  if (wanted == nullptr || *wanted == '\0') return available.back();
  std::string names;
  for (const Isa isa : available) {
    if (name_of(isa) == std::string(wanted)) return isa;
    names += (names.empty() ? "" : ", ") + std::string(name_of(isa));
  }
  throw UsageError("MESHPARITY_ISA=" + std::string(wanted) +
                       " is no instruction set of this build and processor",
                   "use one of " + names + ", or unset it");
}

std::atomic<const KernelTable*> table_in_use = nullptr;

}  // namespace

const KernelTable& kernels_of(Isa isa) {
  switch (isa) {
#ifdef MESHPARITY_WITH_AVX
    case Isa::avx2:
      return kernel_table_avx2;
    case Isa::avx512:
      return kernel_table_avx512;
#endif
#ifdef MESHPARITY_WITH_NEON
    case Isa::neon:
      return kernel_table_neon;
#endif
    default:
      return kernel_table_scalar;
  }
}

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::neon:
      return "neon";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::scalar:
      break;
  }
  return "scalar";
}

std::vector<Isa> available_isas() {
  std::vector<Isa> available = {Isa::scalar};
#ifdef MESHPARITY_WITH_NEON
  available.push_back(Isa::neon);
#endif
#ifdef MESHPARITY_WITH_AVX
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    available.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      available.push_back(Isa::avx512);
    }
  }
#endif
  return available;
}

const KernelTable& kernel_table() {
  const KernelTable* table = table_in_use.load(std::memory_order_relaxed);
  if (table == nullptr) {
    table = &kernels_of(chosen_isa());
    table_in_use.store(table, std::memory_order_relaxed);
  }
  return *table;
}

Isa isa_in_use() {
  const KernelTable& table = kernel_table();
  for (const Isa isa : available_isas()) {
    if (&kernels_of(isa) == &table) return isa;
  }
  return Isa::scalar;
}

void use_kernels(const KernelTable& kernels) {
  table_in_use.store(&kernels, std::memory_order_relaxed);
}

void use_isa(Isa isa) { use_kernels(kernels_of(isa)); }

}  // namespace meshparity
