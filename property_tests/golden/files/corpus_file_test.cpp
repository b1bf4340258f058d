#include "golden/files/corpus_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/files/sha256.h"
#include "model/error.h"

namespace meshparity {
namespace {

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
  ASSERT_EQ(from_file.samples(Corpus::Split::training), direct.samples(Corpus::Split::training));
  ASSERT_EQ(from_file.vocabulary(), direct.vocabulary());
  for (std::size_t r = 0; r < direct.samples(Corpus::Split::training); ++r) {
    std::vector<Token> tokens(3);
    std::vector<Token> expected(3);
    Token target = -1;
    Token expected_target = -2;
    from_file.sample(Corpus::Split::training, r, tokens, {&target, 1});
    direct.sample(Corpus::Split::training, r, expected, {&expected_target, 1});
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
  EXPECT_THROW(read("/proc/self/mem"), EnvironmentError);
}

TEST_F(CorpusFile, AByteOrderMarkIsNoText) {
  write(
      "\xef\xbb\xbf"
      "Anna\r\nBea\r\n");
  EXPECT_EQ(read(path()).bytes(), "ABaen");
  write(
      std::string("\xff\xfe"
                  "a\0\n\0",
                  6));
  expect_error(path(), "is UTF-16");
  write("\xfe\xff");
  expect_error(path(), "is UTF-16");
  write("anna\rbea\r");
  expect_error(path(), "carriage returns alone");
}

class Gpt2Data : public CorpusFile {
 protected:
  void SetUp() override {
    CorpusFile::SetUp();
    recipe_ = default_recipe(ModelKind::gpt2);
    recipe_.positions = 4;
    recipe_.batch = 2;
    recipe_.data = path();
  }

  struct Header {
    std::uint32_t magic = 20240520;
    std::uint32_t version = 1;
    std::uint32_t count = 0;
  };
  std::string write_tokens(const std::string& name,
                           const std::vector<std::uint16_t>& tokens) const {
    return write_tokens(name, tokens, {.count = static_cast<std::uint32_t>(tokens.size())});
  }
  std::string write_tokens(const std::string& name, const std::vector<std::uint16_t>& tokens,
                           Header header) const {
    std::string bytes;
    for (std::uint32_t word : {header.magic, header.version, header.count}) {
      for (int i = 0; i < 4; ++i, word >>= 8) bytes.push_back(static_cast<char>(word & 255));
    }
    bytes.resize(1024);
    for (const std::uint16_t token : tokens) {
      bytes.push_back(static_cast<char>(token & 255));
      bytes.push_back(static_cast<char>(token >> 8));
    }
    const std::string file = (folder_ / name).string();
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }
  static std::vector<std::uint16_t> from(std::uint16_t first, std::size_t count) {
    std::vector<std::uint16_t> tokens(count);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }
  void use_tokens(const std::string& data) {
    recipe_.data = data;
    recipe_.form = DataForm::tokens;
    recipe_.order = DataOrder::sequential;
  }
  std::string refusal() const {
    try {
      read_corpus(recipe_);
    } catch (const UsageError& e) {
      EXPECT_FALSE(e.hint().empty()) << e.what();
      return e.what();
    }
    return "accepted";
  }
  void expect_refused(const std::string& word) const {
    EXPECT_NE(refusal().find(word), std::string::npos) << refusal();
  }
  Token first_token(const Corpus& corpus, std::uint64_t step) const {
    std::vector<Token> tokens(4);
    std::vector<Token> targets(4);
    const auto split = Corpus::Split::training;
    corpus.sample(split, corpus.sample_in_order(split, step, 0, recipe_.batch), tokens, targets);
    return tokens[0];
  }

  Recipe recipe_;
};

TEST_F(Gpt2Data, EveryFormIsRead) {
  write("ab\nc\nd\nab\nab\n");
  const Corpus text = read_corpus(recipe_).first;
  EXPECT_EQ(text.bytes(), "\nabcd");
  EXPECT_EQ(text.samples(Corpus::Split::training), 7U);  // 13 bytes, 11 to train on
  recipe_.all_bytes = true;
  EXPECT_EQ(read_corpus(recipe_).first.vocabulary(), 256U);
  recipe_.form = DataForm::lines;
  const Corpus lines = read_corpus(recipe_).first;
  EXPECT_EQ(lines.bytes(), "abcd");
  EXPECT_EQ(lines.samples(Corpus::Split::training), 4U);
  EXPECT_EQ(lines.positions(), 4U);
  recipe_.order = DataOrder::sequential;
  expect_refused("documents are drawn at random");
}

TEST_F(Gpt2Data, ShardsAreReadInNameOrder) {
  write_tokens("train_2.bin", from(200, 9));
  const std::string first = write_tokens("train_1.bin", from(100, 20));
  write_tokens("train_3.txt", from(300, 9));
  write_tokens("val.bin", from(400, 9));
  use_tokens((folder_ / "train_*.bin").string());
  const auto [corpus, hash] = read_corpus(recipe_);
  EXPECT_EQ(corpus.vocabulary(), 50257U);
  const std::vector<Token> expected{100, 108, 200, 100, 108, 200};
  for (std::size_t step = 0; step < expected.size(); ++step) {
    EXPECT_EQ(first_token(corpus, step), expected[step]) << step;
  }
  EXPECT_EQ(corpus.consecutive_samples(Corpus::Split::validation), 0U);
  recipe_.validation_data = (folder_ / "val.bin").string();
  const auto both = read_corpus(recipe_);
  EXPECT_EQ(both.first.consecutive_samples(Corpus::Split::validation), 2U);
  EXPECT_EQ(both.second, hash) << "what is validated on changes no training";
  recipe_.data = folder_.string();
  EXPECT_EQ(read_corpus(recipe_).first.batches_in_order(Corpus::Split::training, 2), 4U) << "*.bin";
  recipe_.data = first;
  EXPECT_EQ(read_corpus(recipe_).second, sha256(read_file(first, "file")));
}

TEST_F(Gpt2Data, DamagedTokenFilesAreRefused) {
  use_tokens(write_tokens("a.bin", from(0, 20), {.magic = 7, .count = 20}));
  expect_refused("its magic number is 7, not 20240520");
  write_tokens("a.bin", from(0, 20), {.version = 2, .count = 20});
  expect_refused("a token file of version 2");
  write_tokens("a.bin", from(0, 20), {.count = 21});
  expect_refused("has 1064 bytes, but 21 tokens would take 1066");
  write_tokens("a.bin", from(50238, 20));
  expect_refused("token 50257 at place 19, the vocabulary has 50257");
  recipe_.vocabulary = 50258;
  EXPECT_EQ(refusal(), "accepted");
  std::ofstream(folder_ / "a.bin") << "short";
  expect_refused("5 bytes");
  use_tokens((folder_ / "b*.bin").string());
  expect_refused("no file is called");
  use_tokens((folder_ / "b.bin").string());
  expect_refused("No such file");
}

TEST_F(Gpt2Data, WhatHoldsNoSampleIsRefused) {
  write("abc\n");
  expect_refused("no 5 tokens in a row");
  recipe_.form = DataForm::lines;
  expect_refused("one document");
  use_tokens(write_tokens("a.bin", from(0, 8)));
  expect_refused("holds a batch: 2 x 4 tokens");
  recipe_.batch = std::size_t{1} << 62;  // times 4 is 0
  expect_refused("holds a batch");
  recipe_.batch = 1;
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(Gpt2Data, AVocabularyNeedsNoText) {
  EXPECT_EQ(vocabulary_corpus(recipe_, "ab\r").encode("\r"), std::vector<Token>{0});
  recipe_.form = DataForm::lines;
  EXPECT_EQ(vocabulary_corpus(recipe_, "ab\r").encode("\r"), std::vector<Token>{1});
  recipe_.form = DataForm::tokens;
  EXPECT_EQ(vocabulary_corpus(recipe_, "").vocabulary(), 50257U);
  EXPECT_EQ(vocabulary_corpus(Recipe(), "ab\r").bytes(), "\rab");
}

}  // namespace
}  // namespace meshparity
