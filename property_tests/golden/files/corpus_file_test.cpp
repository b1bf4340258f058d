#include "golden/files/corpus_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/error.h"

namespace meshparity {
namespace {

using Split = Corpus::Split;

Corpus read(const std::string& path) {
  Recipe recipe;
  recipe.data = path;
  recipe.context = 3;
  return read_corpus(recipe).first;
}

class CorpusFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "corpus_test.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return (folder_ / "text").string(); }
  void write(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }

  /// Reading `from` fails with a message that has both words in it, and a hint.
  static void expect_error(const std::string& from, const std::string& word) {
    try {
      read(from);
      FAIL() << "no error for " << from;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  }

  std::filesystem::path folder_;
};

TEST_F(CorpusFile, IsReadAsItIs) {
  const std::string text("a\r\n\xff\xfe\n\n" + std::string(1, '\0') + "b");
  write(text);
  const Corpus from_file = read(path());
  const Corpus direct(text, 3);
  ASSERT_EQ(from_file.samples(Split::training), direct.samples(Split::training));
  ASSERT_EQ(from_file.vocabulary(), direct.vocabulary());
  for (std::size_t r = 0; r < direct.samples(Split::training); ++r) {
    std::vector<Token> tokens(3);
    std::vector<Token> expected(3);
    Token target = -1;
    Token expected_target = -2;
    from_file.sample(Split::training, r, tokens, {&target, 1});
    direct.sample(Split::training, r, expected, {&expected_target, 1});
    EXPECT_EQ(target, expected_target);
    EXPECT_EQ(tokens, expected);
  }
}

TEST_F(CorpusFile, ErrorsNameTheFileAndTheReason) {
  expect_error(path(), path());  // missing
  expect_error(path(), "No such file");
  expect_error(folder_.string(), "is a directory");
  expect_error(folder_.string(), folder_.string());
  write("");
  expect_error(path(), "is empty");
  expect_error(path(), path());
  write("\n\r\n\n");
  expect_error(path(), "no text");
  expect_error("", "no corpus");
}

TEST_F(CorpusFile, ErrorsWhileReadingAreNotTheEndOfTheFile) {
  // The first page of this process is not mapped: opening works, reading does not.
  expect_error("/proc/self/mem", "cannot be read to its end");
}

}  // namespace
}  // namespace meshparity
