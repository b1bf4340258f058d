// Every test program starts here: properties are random, but the same on every run unless RC_PARAMS
// says otherwise. RapidCheck prints the seed of a failure. A run of no tests is no success, be it a
// filter, a shard or a count of 0 that made it one.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstddef>
#include <cstdlib>
#include <iostream>

#include "model/numerics/floating_point.h"

namespace {

/// The tests that have been run.
class Counter final : public testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const testing::TestInfo& /*test*/) override { ++count_; }
  std::size_t count() const { return count_; }

 private:
  std::size_t count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const char* const given = std::getenv("RC_PARAMS");
  if (given == nullptr || *given == '\0') ::setenv("RC_PARAMS", "seed=20260101", /*overwrite=*/1);
  meshparity::set_floating_point_environment();
  testing::InitGoogleTest(&argc, argv);
  if (rc::detail::configuration().testParams.maxSuccess <= 0) {
    std::cerr << "error: RC_PARAMS=\"" << std::getenv("RC_PARAMS")
              << "\" asks for no random cases\ntry: unset RC_PARAMS\n";
    return 2;
  }
  auto* const counter = new Counter;  // GoogleTest's from now on
  testing::UnitTest::GetInstance()->listeners().Append(counter);
  const int status = RUN_ALL_TESTS();
  if (status == 0 && counter->count() == 0 && !GTEST_FLAG_GET(list_tests)) {
    std::cerr << "error: no test was run\ntry: unset GTEST_FILTER GTEST_REPEAT GTEST_TOTAL_SHARDS; "
              << "--gtest_list_tests\n";
    return 1;
  }
  return status;
}
