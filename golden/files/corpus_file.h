#pragma once

#include <string>
#include <utility>

#include "model/corpus.h"
#include "model/recipe.h"

namespace meshparity {

/// Reads the corpus of a recipe: the text and its SHA-256. Throws UsageError that names the file.
std::pair<Corpus, std::string> read_corpus(const Recipe& recipe);

}  // namespace meshparity
