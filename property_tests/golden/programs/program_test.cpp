#include "golden/programs/program.h"

#include <gtest/gtest.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include "model/error.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

template <typename Error>
ErrorReport report_of(const Error& error) {
  return describe_error(std::make_exception_ptr(error));
}

TEST(Program, OnlyAFailedProofEndsWithOne) {
  EXPECT_EQ(report_of(SimFailure(SimFailure::Kind::deadlock, "stuck", {})).status, kProofFailed);
  EXPECT_EQ(report_of(UsageError("no")).status, kBadUsage);
  EXPECT_EQ(report_of(std::length_error("no")).status, kBadUsage);
  EXPECT_EQ(report_of(EnvironmentError("no")).status, kEnvironmentFailed);
  EXPECT_EQ(report_of(CommError("no")).status, kEnvironmentFailed);
  EXPECT_EQ(report_of(std::bad_alloc()).status, kEnvironmentFailed);
  EXPECT_EQ(report_of(std::logic_error("no")).status, kEnvironmentFailed);
}

TEST(Program, ErrorsNameTheValueAndTheNextStep) {
  EXPECT_EQ(report_of(UsageError("no mesh 'x'", "dp=2")).text, "error: no mesh 'x'\ntry: dp=2\n");
  EXPECT_EQ(report_of(UsageError("no mesh 'x'")).text, "error: no mesh 'x'\n");
  EXPECT_EQ(report_of(std::runtime_error("no memory")).text, "error: no memory\n");
}

}  // namespace
}  // namespace meshparity
