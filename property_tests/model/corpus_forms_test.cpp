// Documents, streams of bytes and token files as samples. (Rows are in corpus_test.cpp.)
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/error.h"
#include "property_tests/random_values.h"

namespace meshparity {
namespace {

using random::from_to;
using Tokens = std::vector<Token>;
constexpr Token kNone = kNoTarget;

struct Sample {
  Tokens tokens;
  Tokens targets;
  bool operator==(const Sample&) const = default;
};

Sample room_of(const Corpus& corpus) {
  return {Tokens(corpus.context(), -7), Tokens(corpus.positions(), -7)};
}

Sample sample_of(const Corpus& corpus, Corpus::Split split, std::size_t index) {
  Sample sample = room_of(corpus);
  corpus.sample(split, index, sample.tokens, sample.targets);
  return sample;
}

Sample consecutive_of(const Corpus& corpus, Corpus::Split split, std::size_t index) {
  Sample sample = room_of(corpus);
  corpus.consecutive_sample(split, index, sample.tokens, sample.targets);
  return sample;
}

/// Tokens 0, 1, 2, ...: a window's tokens tell where it is.
Corpus numbered_files(const std::vector<std::size_t>& training,
                      const std::vector<std::size_t>& validation, std::size_t sequence) {
  std::size_t total = 0;
  for (const std::size_t size : training) total += size;
  for (const std::size_t size : validation) total += size;
  std::vector<std::uint16_t> tokens(total);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
  return Corpus::token_files(std::move(tokens), training, validation, 50257, sequence);
}

TEST(Documents, ByHand) {
  // a = 1, b = 2. Ten documents: nine to train on.
  const Corpus corpus = Corpus::documents("ba\r\n\nbbbbb\na\na\na\na\na\na\nb", 3);
  EXPECT_EQ(corpus.vocabulary(), 3U);
  EXPECT_TRUE(corpus.has_boundary());
  ASSERT_EQ(corpus.samples(Corpus::Split::training), 9U);
  ASSERT_EQ(corpus.samples(Corpus::Split::validation), 1U);
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 0), (Sample{{0, 2, 1}, {2, 1, 0}}));
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 1), (Sample{{0, 0, 0}, {0, kNone, kNone}}));
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 2), (Sample{{0, 2, 2}, {2, 2, 2}})) << "cut";
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 3), (Sample{{0, 1, 0}, {1, 0, kNone}}));
  EXPECT_EQ(sample_of(corpus, Corpus::Split::validation, 0), (Sample{{0, 2, 0}, {2, 0, kNone}}));
  EXPECT_EQ(consecutive_of(corpus, Corpus::Split::validation, 0),
            sample_of(corpus, Corpus::Split::validation, 0));
  EXPECT_EQ(corpus.consecutive_samples(Corpus::Split::validation), 1U);
}

RC_GTEST_PROP(Documents, TargetsAreCountedWithoutDrawingThem, ()) {
  std::string text = "ab\n";
  const std::size_t documents = *from_to(1, 30);
  for (std::size_t i = 0; i < documents; ++i) text += std::string(*from_to(0, 9), 'a') + "\n";
  const Corpus corpus = Corpus::documents(text, *from_to(1, 8));
  const std::uint64_t seed = *random::any_seed();
  const std::uint64_t step = *from_to(0, 100);
  const std::size_t batch = *from_to(1, 12);
  Tokens tokens(batch * corpus.context());
  Tokens targets(batch * corpus.positions());
  corpus.draw(Corpus::Split::training, seed, step, 0, tokens, targets);
  const auto present = std::ranges::count_if(targets, [](Token t) { return t != kNone; });
  RC_ASSERT(corpus.drawn_targets(Corpus::Split::training, seed, step, batch) ==
            static_cast<std::size_t>(present));
}

TEST(Stream, EveryByteCountsAndTheLastTenthIsForValidation) {
  const Corpus corpus = Corpus::stream("b\r\na\nb\r\nab\nab\nbba\nbb", 3, false);
  EXPECT_EQ(corpus.bytes(), "\n\rab");
  EXPECT_EQ(corpus.vocabulary(), 4U);
  EXPECT_FALSE(corpus.has_boundary());
  // 20 bytes: 18 and 2; a window has 3 and a successor.
  ASSERT_EQ(corpus.samples(Corpus::Split::training), 15U);
  EXPECT_EQ(corpus.samples(Corpus::Split::validation), 0U);
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 0), (Sample{{3, 1, 0}, {1, 0, 2}}));
  EXPECT_EQ(sample_of(corpus, Corpus::Split::training, 14), (Sample{{3, 3, 2}, {3, 2, 0}}));
  EXPECT_EQ(corpus.consecutive_samples(Corpus::Split::validation), 1U);
  EXPECT_EQ(consecutive_of(corpus, Corpus::Split::validation, 0),
            (Sample{{3, 0, 0}, {3, kNone, kNone}}));
  EXPECT_EQ(Corpus::stream("ab", 1, true).vocabulary(), 256U);
  EXPECT_EQ(Corpus::stream("ab", 1, true).byte_of(98), 'b');
  EXPECT_THROW(Corpus::stream("", 1, true), UsageError);
}

RC_GTEST_PROP(Stream, WindowsNeverCrossThePartsAndSuccessorsFollow, ()) {
  std::string text;
  const std::size_t size = *from_to(1, 200);
  for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<char>(i));
  const std::size_t sequence = *from_to(1, 30);
  const Corpus corpus = Corpus::stream(text, sequence, true);
  const std::size_t training = size * 9 / 10;
  for (const Corpus::Split split : {Corpus::Split::training, Corpus::Split::validation}) {
    const std::size_t begin = split == Corpus::Split::training ? 0 : training;
    const std::size_t end = split == Corpus::Split::training ? training : size;
    const std::size_t windows = end - begin > sequence ? end - begin - sequence : 0;
    RC_ASSERT(corpus.samples(split) == windows);
    for (std::size_t w = 0; w < windows; ++w) {
      const Sample sample = sample_of(corpus, split, w);
      for (std::size_t i = 0; i < sequence; ++i) {
        RC_ASSERT(sample.tokens[i] == static_cast<Token>(begin + w + i));
        RC_ASSERT(sample.targets[i] == sample.tokens[i] + 1);
        RC_ASSERT(static_cast<std::size_t>(sample.targets[i]) < end);
      }
    }
    // Consecutive windows have every target once, in order.
    Token next = static_cast<Token>(begin + 1);
    for (std::size_t w = 0; w < corpus.consecutive_samples(split); ++w) {
      const Sample sample = consecutive_of(corpus, split, w);
      for (std::size_t i = 0; i < sequence; ++i) {
        if (sample.targets[i] == kNone) continue;
        RC_ASSERT(sample.targets[i] == next++);
        RC_ASSERT(sample.tokens[i] == sample.targets[i] - 1);
      }
    }
    RC_ASSERT(next == static_cast<Token>(std::max(end, begin + 1)));
  }
}

RC_GTEST_PROP(Stream, ABatchIsAFunctionOfSeedStepAndSlot, ()) {
  const Corpus corpus = numbered_files({*from_to(0, 40), 17, *from_to(0, 40)}, {30}, 5);
  const std::uint64_t seed = *random::any_seed();
  const std::uint64_t step = *from_to(0, 1000);
  const Corpus::Split split = *rc::gen::element(Corpus::Split::training, Corpus::Split::validation);
  const std::size_t batch = *from_to(1, 20);
  Tokens tokens(batch * 5);
  Tokens targets(batch * 5);
  corpus.draw(split, seed, step, 0, tokens, targets);
  for (const Range run : random::random_split({0, batch}, *from_to(1, 4))) {
    Tokens part_tokens(run.size() * 5);
    Tokens part_targets(run.size() * 5);
    corpus.draw(split, seed, step, run.begin, part_tokens, part_targets);
    RC_ASSERT(
        std::ranges::equal(part_tokens, std::span(tokens).subspan(run.begin * 5, run.size() * 5)));
    RC_ASSERT(std::ranges::equal(part_targets,
                                 std::span(targets).subspan(run.begin * 5, run.size() * 5)));
  }
}

TEST(TokenFiles, InTheOrderOfLlmcsLoader) {
  // B T = 6: files of 13 (two batches), 6 (none: a successor is missing), 8 (one) tokens.
  const Corpus corpus = numbered_files({13, 6, 8}, {7}, 3);
  ASSERT_EQ(corpus.batches_in_order(Corpus::Split::training, 2), 3U);
  ASSERT_EQ(corpus.batches_in_order(Corpus::Split::validation, 2), 1U);
  const auto first_token = [&](Corpus::Split split, std::uint64_t step, std::size_t slot) {
    return sample_of(corpus, split, corpus.sample_in_order(split, step, slot, 2)).tokens[0];
  };
  const std::vector<Tokens> expected{{0, 3}, {6, 9}, {19, 22}, {0, 3}, {6, 9}, {19, 22}};
  for (std::size_t step = 0; step < expected.size(); ++step) {
    for (std::size_t slot = 0; slot < 2; ++slot) {
      EXPECT_EQ(first_token(Corpus::Split::training, step, slot), expected[step][slot]) << step;
    }
  }
  EXPECT_EQ(first_token(Corpus::Split::training, 3'000'000'000'000 + 2, 1), 22);
  EXPECT_EQ(first_token(Corpus::Split::validation, 0, 1), 30);
  const Sample last = sample_of(corpus, Corpus::Split::training,
                                corpus.sample_in_order(Corpus::Split::training, 1, 1, 2));
  EXPECT_EQ(last, (Sample{{9, 10, 11}, {10, 11, 12}}));
}

/// llm.c's loader, with its state.
RC_GTEST_PROP(TokenFiles, OrderIsThatOfALoaderWithAState, ()) {
  const std::size_t batch = *from_to(1, 4);
  const std::size_t sequence = *from_to(1, 5);
  const std::size_t total = batch * sequence;
  std::vector<std::size_t> sizes =
      *rc::gen::container<std::vector<std::size_t>>(*from_to(1, 5), from_to(0, 4 * total + 2));
  sizes.push_back(*from_to(total + 1, 3 * total));
  const Corpus corpus = numbered_files(sizes, {}, sequence);
  std::size_t file = 0;
  std::size_t begin = 0;
  std::size_t at = 0;  // in the file
  for (std::uint64_t step = 0; step < 40; ++step) {
    while (at + total + 1 > sizes[file]) {
      begin += sizes[file];
      at = 0;
      if (++file == sizes.size()) file = begin = 0;
    }
    for (std::size_t slot = 0; slot < batch; ++slot) {
      const Sample sample =
          sample_of(corpus, Corpus::Split::training,
                    corpus.sample_in_order(Corpus::Split::training, step, slot, batch));
      for (std::size_t i = 0; i < sequence; ++i) {
        RC_ASSERT(sample.tokens[i] == static_cast<Token>(begin + at + slot * sequence + i));
        RC_ASSERT(sample.targets[i] == sample.tokens[i] + 1);
      }
    }
    at += total;
  }
}

TEST(TokenFiles, WindowsNeverCrossFiles) {
  const Corpus corpus = numbered_files({4, 2, 5}, {3}, 2);
  Tokens starts;
  for (std::size_t w = 0; w < corpus.samples(Corpus::Split::training); ++w) {
    starts.push_back(sample_of(corpus, Corpus::Split::training, w).tokens[0]);
  }
  EXPECT_EQ(starts, (Tokens{0, 1, 6, 7, 8}));
  EXPECT_EQ(consecutive_of(corpus, Corpus::Split::training, 1), (Sample{{2, 0}, {3, kNone}}));
  EXPECT_EQ(consecutive_of(corpus, Corpus::Split::training, 2), (Sample{{4, 0}, {5, kNone}}));
  EXPECT_EQ(corpus.consecutive_samples(Corpus::Split::training), 5U);
}

TEST(Vocabulary, TextsBecomeTokensAndBack) {
  const Corpus lines = Corpus::documents("bad\ncab\n", 4);
  EXPECT_EQ(lines.encode("dab"), (Tokens{4, 1, 2}));
  EXPECT_EQ(lines.text_of(4), "d");
  EXPECT_EQ(lines.first_token(), 0);
  const Corpus stream = Corpus::stream("bad\n", 2, false);
  EXPECT_EQ(stream.encode("\nab"), (Tokens{0, 1, 2}));
  const Corpus files = Corpus::token_files({}, {}, {}, 50257, 4);
  EXPECT_EQ(files.encode(" 7 50256"), (Tokens{7, 50256}));
  EXPECT_EQ(files.text_of(50256), "50256 ");
  EXPECT_EQ(files.first_token(), 50256);
  const auto refusal = [](const Corpus& corpus, const std::string& text) {
    try {
      corpus.encode(text);
    } catch (const UsageError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refusal(lines, "abz"), "the vocabulary has no byte 0x7a ('z'), which is at byte 2");
  EXPECT_EQ(refusal(lines, "\n"), "the vocabulary has no byte 0x0a, which is at byte 0");
  EXPECT_EQ(refusal(files, "7 50257"), "'50257' at byte 2 is no token of this vocabulary");
  EXPECT_EQ(refusal(files, "x"), "'x' at byte 0 is no token of this vocabulary");
}

}  // namespace
}  // namespace meshparity
