#pragma once

#include <string>
#include <utility>

#include "model/corpus.h"
#include "model/recipe.h"

namespace meshparity {

/// Reads the corpus of a recipe, and the SHA-256 of what is trained on: of the text, or of all
/// token files, one after the other. A byte order mark is no part of a text. Throws UsageError that
/// names the file: it is missing, damaged or too short for a sample.
std::pair<Corpus, std::string> read_corpus(const Recipe& recipe);

/// The corpus that a text is, for a recipe that trains on texts.
Corpus corpus_of(const Recipe& recipe, std::string text);

/// A corpus that has a vocabulary, for a model that is only sampled from, and nothing worth
/// training on. `bytes`: `Corpus::bytes` of what the model was trained on.
Corpus vocabulary_corpus(const Recipe& recipe, const std::string& bytes);

}  // namespace meshparity
