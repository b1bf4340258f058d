#pragma once

#include <rapidcheck.h>

#include <vector>

#include "model/numerics/isa.h"
#include "oracle/compare.h"

namespace meshparity {

/// Plain code in the shapes of AVX-512, its vectors and tiles: what follows from them is tried on
/// processors that lack it, too.
extern const KernelTable kernel_table_avx512_shapes;

struct KernelSet {
  const char* name;
  const KernelTable* kernels;
};

/// Those that can be tried here.
inline std::vector<KernelSet> kernel_sets() {
  std::vector<KernelSet> sets = {{"shapes of avx512", &kernel_table_avx512_shapes}};
  for (const Isa isa : available_isas()) sets.push_back({name_of(isa), &kernels_of(isa)});
  return sets;
}

/// For a while, kernels of any set.
class AnyKernels {
 public:
  AnyKernels() {
    const KernelSet set = *rc::gen::elementOf(kernel_sets());
    RC_TAG(std::string(set.name));
    use_kernels(*set.kernels);
  }
  ~AnyKernels() { use_isa(before_); }
  AnyKernels(const AnyKernels&) = delete;
  AnyKernels& operator=(const AnyKernels&) = delete;

 private:
  Isa before_ = isa_in_use();
};

/// body(name) with the kernels of each set in use.
template <typename Body>
void with_each_kernel_set(Body body) {
  const Isa before = isa_in_use();
  for (const KernelSet& set : kernel_sets()) {
    use_kernels(*set.kernels);
    body(set.name);
  }
  use_isa(before);
}

inline void require_same(float actual, float expected) {
  if (!same_float(actual, expected)) RC_ASSERT(actual == expected);
}

}  // namespace meshparity
