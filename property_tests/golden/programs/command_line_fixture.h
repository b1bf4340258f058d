#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/jobs/child_process.h"
#include "golden/jobs/mpirun.h"
#include "golden/jobs/temporary_folder.h"
#include "property_tests/says.h"

/// Programs run as a user runs them, in a folder of their own.
namespace meshparity::command_line {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

inline constexpr std::chrono::seconds kDeadline{60};

inline ChildResult run(const std::string& program, const Words& arguments) {
  Words command = {program};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_child(command, kDeadline);
}

inline ChildResult train(const Words& arguments) {
  return run(MESHPARITY_TRAIN_PROGRAM, arguments);
}

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

#ifdef MESHPARITY_WITH_MPI
/// meshparity-train as so many ranks.
inline ChildResult mpirun(std::size_t ranks, const Words& arguments) {
  Words program = {MESHPARITY_TRAIN_PROGRAM};
  program.insert(program.end(), arguments.begin(), arguments.end());
  return run_child(mpirun_command(ranks, program), kDeadline);
}
#endif

/// A folder with a small corpus, a recipe, a model and a trace.
class CommandLineFixture : public testing::Test {
 protected:
  void SetUp() override {
    std::string names;
    for (const char* name :
         {"emma", "olivia", "ava", "isabella", "sophia", "mia", "noah", "liam"}) {
      names += std::string(name) + "\n" + name + "a\n" + name + "lina\n";
    }
    write_file(file("names.txt"), names);
    write_file(file("ok.recipe"),
               "data = names.txt\ncontext = 3\nembedding = 4\nhidden = 5\nbatch = 6\nsteps = 4\n"
               "batch-grain = 2\nfeature-grain = 2\nvocab-grain = 4\n");
    const ChildResult made = train({"--recipe", file("ok.recipe"), "--quiet", "--save",
                                    file("model"), "--trace", file("trace")});
    ASSERT_EQ(made.status, 0) << made.errors;
  }

  std::string file(const std::string& name) const { return folder_.file(name); }

  /// Every file with its bytes.
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      const std::string path = entry.path().string();
      files[path] = entry.is_regular_file() ? read_file(path, "file") : "";
    }
    return files;
  }

  /// The recipe's arguments, then these.
  Words with_recipe(const Words& more) const {
    Words words = {"--recipe", file("ok.recipe"), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  void expect_refused(const ChildResult& result, const Words& complaints, const std::string& what) {
    EXPECT_EQ(result.status, 2) << what << ": " << result.errors;
    EXPECT_FALSE(result.timed_out) << what;
    EXPECT_EQ(result.output, "") << what;
    EXPECT_TRUE(result.errors.starts_with("error: ")) << what << ": " << result.errors;
    EXPECT_TRUE(says(result.errors, "\ntry: ")) << what << ": " << result.errors;
    for (const std::string& complaint : complaints) {
      EXPECT_TRUE(says(result.errors, complaint)) << what << ": " << result.errors;
    }
  }

  /// These arguments end with status 2, these words on stderr, and no file touched.
  void expect_bad(const Words& arguments, const Words& complaints) {
    const auto before = contents();
    std::string what;
    for (const std::string& word : arguments) what += " " + word;
    expect_refused(train(arguments), complaints, what);
    EXPECT_TRUE(contents() == before) << what << ": a file was touched";
  }

  const fs::path& folder() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

}  // namespace meshparity::command_line
