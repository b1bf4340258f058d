#include "golden/check/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "golden/files/sha256.h"

namespace meshparity {
namespace {

constexpr int kDigits = 10;
constexpr int kRounds = 20;
constexpr std::size_t kLongestAnswer = 2;

}  // namespace

std::vector<Fact> all_facts() {
  std::vector<Fact> facts;
  for (const char sign : {'+', '*'}) {
    for (int a = 0; a < kDigits; ++a) {
      for (int b = 0; b < kDigits; ++b) {
        facts.push_back(
            {fmt::format("{}{}{}=", a, sign, b), std::to_string(sign == '+' ? a + b : a * b)});
      }
    }
  }
  return facts;
}

std::string facts_corpus() {
  std::string text;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::pair<std::string, std::string>> lines;  // by hash
    for (const Fact& fact : all_facts()) {
      const std::string line = fact.question + fact.answer;
      lines.emplace_back(sha256(fmt::format("{}:{}", round, line)), line);
    }
    std::sort(lines.begin(), lines.end());
    for (const auto& [hash, line] : lines) text += line + '\n';
  }
  return text;
}

bool is_facts_corpus(const std::string& corpus_sha256) {
  static const std::string facts_sha256 = sha256(facts_corpus());
  return corpus_sha256 == facts_sha256;
}

RightAnswers ask_all_facts(Generator& generator, const Corpus& corpus) {
  RightAnswers answers;
  for (const Fact& fact : all_facts()) {
    const std::string text = generator.sample(0, {.prompt = corpus.encode(fact.question),
                                                  .most = kLongestAnswer + 1,  // and the line end
                                                  .top_k = 1});
    const std::string line = text.substr(0, text.find('\n'));
    answers.right += line == fact.question + fact.answer ? 1 : 0;
    answers.asked += 1;
  }
  return answers;
}

}  // namespace meshparity
