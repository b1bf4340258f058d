#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/generator.h"

/// The corpus golden/corpus/facts.txt: sums and products of two digits, one a line.
namespace meshparity {

/// A question ("3+4=") and what a model should go on with ("7").
struct Fact {
  std::string question;
  std::string answer;
};

/// All 200: sums, then products.
std::vector<Fact> all_facts();

/// The text of the corpus: 20 rounds of all facts, each in another order.
std::string facts_corpus();

struct RightAnswers {
  std::size_t right = 0;
  std::size_t asked = 0;
};

/// True if this is what a corpus with this SHA-256 holds.
bool is_facts_corpus(const std::string& corpus_sha256);

/// Asks a model every question; its likeliest tokens up to the line end are its answer. `corpus` is
/// the generator's, and has every byte of the facts.
RightAnswers ask_all_facts(Generator& generator, const Corpus& corpus);

}  // namespace meshparity
