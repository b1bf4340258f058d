#include "golden/programs/program.h"

#include <gtest/gtest.h>

#include <csignal>
#include <exception>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

#include "golden/files/file_io.h"
#include "golden/jobs/program_start.h"
#include "golden/jobs/temporary_folder.h"
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

/// Where an exception cannot get out: with a temporary file of that name.
void fail_where_nothing_may(const std::string& path, const std::function<void()>& failing) {
  start_program();
  const AtomicFile temporary(path);
  const auto last = [&]() noexcept { failing(); };
  last();
}

TEST(Program, RunningOutOfMemoryIsAnErrorEverywhere) {
  const TemporaryFolder folder;
  EXPECT_EXIT(fail_where_nothing_may(folder.file("a"), [] { throw std::bad_alloc(); }),
              testing::ExitedWithCode(kEnvironmentFailed), "^error: there is not enough memory\n$");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Program, OtherExceptionsThatCannotGetOutAbort) {
  const TemporaryFolder folder;
  EXPECT_EXIT(fail_where_nothing_may(folder.file("a"), [] { throw std::runtime_error("why"); }),
              testing::KilledBySignal(SIGABRT), "why");
  EXPECT_EXIT(
      {
        start_program();
        const AtomicFile temporary(folder.file("a"));
        std::terminate();
      },
      testing::KilledBySignal(SIGABRT), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace meshparity
