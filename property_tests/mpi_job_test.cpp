// A job of many cases under mpirun: it counts only if every verdict is there, and its end is good.

#include "property_tests/proof/mpi_job.h"

#include <gtest/gtest.h>

#include <string>

#include "property_tests/fake_mpirun.h"
#include "property_tests/small_case.h"

namespace meshparity {
namespace {

/// "2: what went wrong", or "none".
std::string failure_of(const std::string& output, int status = 0, bool timed_out = false) {
  const auto failure = failure_in({status, timed_out, output, "last words"}, 3);
  return failure ? std::to_string(failure->number) + ": " + failure->difference : "none";
}

const std::string kEqual = "case 0 equal\ncase 1 equal\ncase 2 equal\n";

TEST(FailureIn, AllEqualAndAGoodEndIsNone) {
  EXPECT_EQ(failure_of(kEqual), "none");
  EXPECT_EQ(failure_of("case 2 equal\nnoise\n\ncase 0 equal\ncase 1 equal\ncase 9 wrong\n"),
            "none");
}

TEST(FailureIn, ADifferenceIsTheCases) {
  EXPECT_EQ(failure_of("case 0 equal\ncase 1 step 2, loss\ncase 2 equal\n"), "1: step 2, loss");
  // Also if another rank says something else, in any order.
  EXPECT_EQ(failure_of("case 1 wrong\n" + kEqual), "1: wrong");
  EXPECT_EQ(failure_of(kEqual + "case 1 hung: recv\n"), "1: hung: recv");
}

TEST(FailureIn, AMissingVerdictIsAFailureOfItsCase) {
  EXPECT_EQ(failure_of("case 0 equal\n", 139), "1: the job ended with status 139: last words");
  EXPECT_EQ(failure_of("case 0 equal\ncase 2 equal\n"),
            "1: the job ended with status 0: last words");
  EXPECT_EQ(failure_of("case 0 equal\ncase 1\ncase 2 equal\n"),
            "1: the job ended with status 0: last words");
  EXPECT_EQ(failure_of("", 143, true), "0: the job hung: last words");
}

TEST(FailureIn, ABadEndCountsThoughEveryVerdictIsIn) {
  EXPECT_EQ(failure_of(kEqual, 1),
            "2: every case is equal, but the job ended with status 1: last words");
  EXPECT_EQ(failure_of(kEqual, 143, true), "2: every case is equal, but the job hung: last words");
  EXPECT_EQ(failure_of(kEqual, 0, true), "2: every case is equal, but the job hung: last words");
}

TEST(FailureUnderMpi, IsToldByHowTheJobEnds) {
  const ParityCase c = small_case();
  {
    const FakeMpirun fake("echo case 0 equal; echo case 1 equal");
    EXPECT_FALSE(failure_under_mpi({c, c}));
  }
  {
    const FakeMpirun fake("echo case 0 equal; echo case 1 equal; exit 1");
    EXPECT_TRUE(failure_under_mpi({c, c}));
  }
  {
    // Every case is a line of the file that the job gets.
    const FakeMpirun fake("echo case 1 $(grep -c trainer \"${@: -1}\") lines");
    const auto failure = failure_under_mpi({c, c, c});
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->number, 0U);
  }
}

}  // namespace
}  // namespace meshparity
