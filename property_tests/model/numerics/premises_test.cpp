#include "model/numerics/premises.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "model/error.h"
#include "model/numerics/floating_point.h"
#include "model/numerics/isa.h"
#include "property_tests/model/numerics/kernel_sets.h"

namespace meshparity {
namespace {

/// A way to compute that the contract does not allow, and what an error says of it.
struct Bend {
  const char* says;
  std::function<void()> on;
};

std::vector<Bend> bends() {
  std::vector<Bend> all;
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    all.push_back({"rounding is not to nearest", [mode] { std::fesetround(mode); }});
  }
#ifdef __SSE__
  // Flush to zero, denormals are zero, and a rounding mode of which <cfenv> knows nothing.
  const auto set = [](unsigned bits) {
    return [bits] { __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | bits); };
  };
  all.push_back({"subnormal results become zero", set(0x8000)});
  all.push_back({"subnormal operands are taken for zero", set(0x0040)});
  all.push_back({"rounding is not to nearest", set(0x4000)});
#endif
  return all;
}

/// The error of `action`, called while the environment is bent; empty if there is none.
std::string error_while(const Bend& bend, void (*action)()) {
  bend.on();
  std::string text;
  try {
    action();
  } catch (const EnvironmentError& error) {
    text = error.what();
  }
  std::fesetenv(FE_DFL_ENV);
  return text;
}

TEST(FloatingPoint, AProgramStartsWithWhatTheContractNeeds) {
  EXPECT_NO_THROW(check_floating_point_environment());
}

TEST(FloatingPoint, EveryBendIsNamed) {
  for (const Bend& bend : bends()) {
    const std::string error = error_while(bend, check_floating_point_environment);
    EXPECT_NE(error.find(bend.says), std::string::npos) << error;
  }
}

TEST(FloatingPoint, EveryBendIsUndone) {
  for (const Bend& bend : bends()) {
    bend.on();
    set_floating_point_environment();
    EXPECT_NO_THROW(check_floating_point_environment()) << bend.says;
  }
}

TEST(FloatingPoint, ThreadsInheritIt) {
  for (const Bend& bend : bends()) {
    std::string error;
    bend.on();
    std::thread thread([&] {
      try {
        check_floating_point_environment();
      } catch (const EnvironmentError& e) {
        error = e.what();
      }
    });
    set_floating_point_environment();
    thread.join();
    EXPECT_NE(error, "") << bend.says;
  }
}

TEST(Premises, KnownBitsComeOutOfEveryInstructionSet) {
  with_each_kernel_set([](const char* name) { EXPECT_NO_THROW(check_known_bits()) << name; });
}

TEST(Premises, KnownBitsNoticeEveryBendOnEveryInstructionSet) {
  with_each_kernel_set([](const char* name) {
    for (const Bend& bend : bends()) {
      const std::string error = error_while(bend, check_known_bits);
      EXPECT_NE(error.find("single operations"), std::string::npos) << name << bend.says << error;
      EXPECT_NE(error.find("matrix products"), std::string::npos) << name << bend.says << error;
      EXPECT_NE(error.find(name_of(isa_in_use())), std::string::npos) << name << bend.says << error;
    }
  });
}

TEST(Premises, AProgramSetsWhatIsBent) {
  for (const Bend& bend : bends()) {
    bend.on();
    EXPECT_NO_THROW(require_premises()) << bend.says;
    EXPECT_NO_THROW(check_floating_point_environment()) << bend.says;
  }
}

}  // namespace
}  // namespace meshparity
