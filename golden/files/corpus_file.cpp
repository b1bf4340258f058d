#include "golden/files/corpus_file.h"

#include <fmt/format.h>

#include "golden/files/file_io.h"
#include "golden/files/sha256.h"
#include "model/error.h"

namespace meshparity {

std::pair<Corpus, std::string> read_corpus(const Recipe& recipe) {
  const std::string hint = "--data FILE: a readable text file, one document a line";
  if (recipe.data.empty()) throw UsageError("no corpus is given", hint);
  try {
    const std::string text = read_file(recipe.data, "corpus");
    if (text.empty()) throw UsageError(fmt::format("corpus '{}' is empty", recipe.data));
    return {Corpus(text, recipe.context), sha256(text)};
  } catch (const UsageError& e) {
    throw UsageError(e.what(), hint);
  }
}

}  // namespace meshparity
