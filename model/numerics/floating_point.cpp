#include "model/numerics/floating_point.h"

#include <cfenv>
#include <string>

#include "model/error.h"
#include "model/numerics/strict_arithmetic.h"

namespace meshparity {
namespace {

/// What the contract does not allow, in words; null if there is nothing. Asks the arithmetic
/// itself, which is the same question on every processor: on x86, <cfenv> reports the x87 unit
/// alone, and no register but its own tells what flushes subnormals.
const char* what_is_bent() {
  volatile float one = 1.0F;
  volatile float half_unit = 0x1p-24F;
  volatile float odd = 1.0F + 0x1p-23F;
  const bool up = one + half_unit != 1.0F;
  const bool down = -one - half_unit != -1.0F;
  const bool to_zero = odd + half_unit != 1.0F + 0x1p-22F;
  if (up || down || to_zero || std::fegetround() != FE_TONEAREST)
    return "rounding is not to nearest";
  volatile float smallest_normal = 0x1p-126F;
  volatile float half = 0.5F;
  volatile float result = smallest_normal * half;
  volatile float subnormal = 0x1p-149F;
  volatile float scale = 0x1p+120F;
  // A result that was not flushed can still be taken for zero, so neither is compared as a float.
  if (__builtin_bit_cast(unsigned, static_cast<float>(result)) != 0x00400000U) {
    return "subnormal results become zero";
  }
  if (__builtin_bit_cast(unsigned, static_cast<float>(subnormal * scale)) == 0) {
    return "subnormal operands are taken for zero";
  }
  return nullptr;
}

}  // namespace

void set_floating_point_environment() {
  // What a program starts with: on x86 both units, and on every processor also no flushing.
  const bool set = std::fesetenv(FE_DFL_ENV) == 0;
  const char* const bent = what_is_bent();
  if (set && bent == nullptr) return;
  throw EnvironmentError(std::string("this processor cannot be made to compute as the numerics "
                                     "contract says: ") +
                         (bent == nullptr ? "its settings cannot be changed" : bent));
}

void check_floating_point_environment() {
  const char* const bent = what_is_bent();
  if (bent == nullptr) return;
  throw EnvironmentError(std::string("something in this process changed how it computes: ") + bent +
                         ". A library that was compiled with -ffast-math does, or a preloaded one");
}

}  // namespace meshparity
