#include "model/corpus.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cmath>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;

/// The rows of a text the way one would make them by hand.
struct NaiveCorpus {
  struct Row {
    std::vector<Token> context;
    Token target;
  };
  std::string alphabet;  // token t is alphabet[t - 1]
  std::vector<Row> rows;

  NaiveCorpus(const std::string& text, std::size_t context) {
    std::vector<std::string> documents;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      documents.push_back(line);
    }
    std::set<unsigned char> bytes;
    for (const std::string& document : documents) bytes.insert(document.begin(), document.end());
    for (const unsigned char byte : bytes) alphabet += static_cast<char>(byte);
    for (const std::string& document : documents) {
      std::vector<Token> padded(context, 0);
      for (const char byte : document) {
        padded.push_back(static_cast<Token>(alphabet.find(byte)) + 1);
      }
      padded.push_back(0);
      for (auto first = padded.begin(); first + static_cast<std::ptrdiff_t>(context) < padded.end();
           ++first) {
        const auto last = first + static_cast<std::ptrdiff_t>(context);
        rows.push_back({{first, last}, *last});
      }
    }
  }
};

std::string random_text() {
  const auto pieces = *rc::gen::container<std::vector<std::string>>(
      *from_to(0, 40),
      rc::gen::element<std::string>("a", "b", "ab", "xyz", "hello world", "\n", "\n", "\r\n", "\r",
                                    "\xff", "\x80", std::string(1, '\0')));
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

/// A text with something in it.
std::string random_corpus() {
  return *rc::gen::element<std::string>("a", "\n", "") + "b" + random_text();
}

struct DrawnRow {
  std::vector<Token> tokens;
  Token target;
};

DrawnRow row_of(const Corpus& corpus, Corpus::Split split, std::size_t row) {
  DrawnRow drawn{std::vector<Token>(corpus.context(), -1), -1};
  corpus.sample(split, row, drawn.tokens, {&drawn.target, 1});
  return drawn;
}

RC_GTEST_PROP(Corpus, RowsAreThoseMadeByHand, ()) {
  const std::string text = random_text();
  const std::size_t context = *from_to(1, 15);
  const NaiveCorpus naive(text, context);
  if (naive.alphabet.empty()) {
    RC_TAG("nothing but line ends");
    RC_ASSERT_THROWS_AS(Corpus(text, context), UsageError);
    return;
  }
  RC_CLASSIFY(text.back() != '\n', "no final line end");
  RC_CLASSIFY(text.find("\n\n") != std::string::npos, "empty lines");
  RC_CLASSIFY(context == 1, "context of 1");
  const Corpus corpus(text, context);
  RC_ASSERT(corpus.context() == context);
  RC_ASSERT(corpus.vocabulary() == naive.alphabet.size() + 1);
  for (std::size_t t = 1; t < corpus.vocabulary(); ++t) {
    RC_ASSERT(corpus.byte_of(static_cast<Token>(t)) == naive.alphabet[t - 1]);
  }
  const std::size_t training = naive.rows.size() * 9 / 10;
  RC_ASSERT(corpus.samples(Corpus::Split::training) == training);
  RC_ASSERT(corpus.samples(Corpus::Split::validation) == naive.rows.size() - training);
  RC_ASSERT(corpus.samples(Corpus::Split::training) >= 1U);
  for (std::size_t r = 0; r < naive.rows.size(); ++r) {
    const DrawnRow row = r < training ? row_of(corpus, Corpus::Split::training, r)
                                      : row_of(corpus, Corpus::Split::validation, r - training);
    RC_ASSERT(row.tokens == naive.rows[r].context);
    RC_ASSERT(row.target == naive.rows[r].target);
  }
}

TEST(Corpus, TwoDocumentsByHand) {
  const Corpus corpus("ba\nb", 2);  // a = 1, b = 2
  using TokenRow = std::vector<Token>;
  ASSERT_EQ(corpus.samples(Corpus::Split::training), 4U);
  ASSERT_EQ(corpus.samples(Corpus::Split::validation), 1U);
  const std::array<DrawnRow, 4> expected{{{{0, 0}, 2}, {{0, 2}, 1}, {{2, 1}, 0}, {{0, 0}, 2}}};
  for (std::size_t r = 0; r < expected.size(); ++r) {
    const DrawnRow row = row_of(corpus, Corpus::Split::training, r);
    EXPECT_EQ(row.tokens, expected[r].tokens) << r;
    EXPECT_EQ(row.target, expected[r].target) << r;
  }
  EXPECT_EQ(row_of(corpus, Corpus::Split::validation, 0).tokens, (TokenRow{0, 2}));
}

TEST(Corpus, LineEndsOfBothKindsGiveTheSameRows) {
  const Corpus unix_text("ab\n\nc\n", 3);
  const Corpus dos_text("ab\r\n\r\nc\r\n", 3);
  ASSERT_EQ(unix_text.samples(Corpus::Split::training), dos_text.samples(Corpus::Split::training));
  EXPECT_EQ(unix_text.vocabulary(), dos_text.vocabulary());
  for (std::size_t r = 0; r < unix_text.samples(Corpus::Split::training); ++r) {
    EXPECT_EQ(row_of(unix_text, Corpus::Split::training, r).tokens,
              row_of(dos_text, Corpus::Split::training, r).tokens);
  }
  EXPECT_EQ(Corpus("a\rb\n", 1).vocabulary(), 4U);  // inside a line it is a byte like others
}

RC_GTEST_PROP(Corpus, ABatchIsAFunctionOfSeedStepAndSlot, ()) {
  const Corpus corpus(random_corpus(), *from_to(1, 6));
  const std::uint64_t seed = *random::any_seed();
  const std::uint64_t step = *from_to(0, 1000);
  const Corpus::Split split = *rc::gen::element(Corpus::Split::training, Corpus::Split::validation);
  const std::size_t batch = *from_to(1, 20);
  std::vector<Token> tokens(batch * corpus.context());
  std::vector<Token> targets(batch);
  corpus.draw(split, seed, step, 0, tokens, targets);
  for (std::size_t slot = 0; slot < batch; ++slot) {
    const std::size_t row = corpus.drawn_sample(split, seed, step, slot);
    RC_ASSERT(row < corpus.samples(split));
    const DrawnRow drawn = row_of(corpus, split, row);
    RC_ASSERT(std::equal(drawn.tokens.begin(), drawn.tokens.end(),
                         tokens.begin() + static_cast<std::ptrdiff_t>(slot * corpus.context())));
    RC_ASSERT(drawn.target == targets[slot]);
  }
  // Whoever draws whichever part of it.
  for (const Range run : random::random_split({0, batch}, *from_to(1, 4))) {
    std::vector<Token> part_tokens(run.size() * corpus.context());
    std::vector<Token> part_targets(run.size());
    corpus.draw(split, seed, step, run.begin, part_tokens, part_targets);
    for (std::size_t i = 0; i < part_tokens.size(); ++i) {
      RC_ASSERT(part_tokens[i] == tokens[run.begin * corpus.context() + i]);
    }
    for (std::size_t i = 0; i < run.size(); ++i) {
      RC_ASSERT(part_targets[i] == targets[run.begin + i]);
    }
  }
}

TEST(Corpus, EveryRowIsDrawnEquallyOften) {
  const Corpus corpus("abc\nde\n\nfghij\n", 2);
  const std::size_t rows = corpus.samples(Corpus::Split::training);
  ASSERT_EQ(rows, 12U);
  constexpr std::size_t kDraws = 12000;
  std::vector<double> counts(rows);
  for (std::size_t i = 0; i < kDraws; ++i) {
    counts[corpus.drawn_sample(Corpus::Split::training, 7, i / 32, i % 32)] += 1;
  }
  // Six standard deviations of a binomial count.
  const double p = 1.0 / static_cast<double>(rows);
  for (const double count : counts) {
    EXPECT_LT(std::abs(count - kDraws * p), 6 * std::sqrt(kDraws * p * (1 - p)));
  }
}

TEST(Corpus, StepsSlotsAndSeedsDrawDifferently) {
  const Corpus corpus(std::string(5000, 'a'), 1);
  const auto batch = [&](std::uint64_t seed, std::uint64_t step) {
    std::vector<std::size_t> rows;
    for (std::size_t slot = 0; slot < 8; ++slot) {
      rows.push_back(corpus.drawn_sample(Corpus::Split::training, seed, step, slot));
    }
    return rows;
  };
  EXPECT_EQ(batch(1, 1), batch(1, 1));
  EXPECT_NE(batch(1, 1), batch(1, 2));
  EXPECT_NE(batch(1, 1), batch(2, 1));
  const std::vector<std::size_t> rows = batch(1, 1);
  EXPECT_GT(std::set<std::size_t>(rows.begin(), rows.end()).size(), 6U);
}

}  // namespace
}  // namespace meshparity
