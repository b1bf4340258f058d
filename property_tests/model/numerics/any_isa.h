#pragma once

#include <rapidcheck.h>

#include "model/numerics/isa.h"
#include "oracle/compare.h"

namespace meshparity {

/// For a while, the kernels of any instruction set that this processor has.
class AnyIsa {
 public:
  AnyIsa() {
    const Isa isa = *rc::gen::elementOf(available_isas());
    RC_TAG(name_of(isa));
    use_isa(isa);
  }
  ~AnyIsa() { use_isa(before_); }
  AnyIsa(const AnyIsa&) = delete;
  AnyIsa& operator=(const AnyIsa&) = delete;

 private:
  Isa before_ = isa_in_use();
};

inline void require_same(float actual, float expected) {
  if (!same_float(actual, expected)) RC_ASSERT(actual == expected);
}

}  // namespace meshparity
