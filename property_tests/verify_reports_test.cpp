#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/jobs/child_process.h"
#include "golden/jobs/temporary_folder.h"

namespace meshparity {
namespace {

/// meshparity-verify, which will find no recipes to prove anything of.
ChildResult verify(const TemporaryFolder& folder, const std::string& reports) {
  return run_child({MESHPARITY_VERIFY_PROGRAM, "--golden-dir", folder.file("none"), "--reports",
                    folder.file(reports)},
                   std::chrono::seconds(60));
}

TEST(VerifyReports, TheirFolderIsMadeBeforeTheProof) {
  const TemporaryFolder folder;
  EXPECT_EQ(verify(folder, "new/deep").status, 2);
  EXPECT_TRUE(std::filesystem::is_directory(folder.file("new/deep")));
  EXPECT_TRUE(std::filesystem::is_empty(folder.file("new/deep")));
}

TEST(VerifyReports, WhatCannotBeWrittenIsRefusedBeforeTheProof) {
  const TemporaryFolder folder;
  write_file(folder.file("file"), "text");
  const ChildResult result = verify(folder, "file/reports");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.errors.find("file/reports/parity.json"), std::string::npos) << result.errors;
}

}  // namespace
}  // namespace meshparity
