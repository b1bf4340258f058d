#include "golden/files/corpus_file.h"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "golden/files/file_io.h"
#include "golden/files/plain_text.h"
#include "golden/files/sha256.h"
#include "golden/files/token_file.h"
#include "model/error.h"

namespace meshparity {
namespace {

std::pair<Corpus, std::string> read_text(const Recipe& recipe) {
  std::string text = read_file(recipe.data, "corpus");
  if (text.empty()) throw UsageError(fmt::format("corpus '{}' is empty", recipe.data));
  const TextKind kind = recipe.form == DataForm::text ? TextKind::bytes : TextKind::lines;
  std::string hash = sha256(text);
  text.erase(0, text.size() - plain_text(text, kind, "corpus", recipe.data).size());
  return {corpus_of(recipe, std::move(text)), std::move(hash)};
}

std::pair<Corpus, std::string> read_tokens(const Recipe& recipe) {
  std::vector<std::string> paths = token_paths(recipe.data);
  const std::size_t training = paths.size();
  if (!recipe.validation_data.empty()) {
    const std::vector<std::string> more = token_paths(recipe.validation_data);
    paths.insert(paths.end(), more.begin(), more.end());
  }
  std::uintmax_t bytes = 0;
  for (const std::string& path : paths) {
    std::error_code error;
    const std::uintmax_t of_file = std::filesystem::file_size(path, error);
    if (!error) bytes += of_file;
  }
  TokenFiles files;
  files.tokens.reserve(static_cast<std::size_t>(bytes / sizeof(std::uint16_t)));
  Sha256 hash;
  Sha256 unused;  // what is validated on changes no training
  for (std::size_t i = 0; i < paths.size(); ++i) {
    add_token_file(paths[i], recipe.vocabulary, files, i < training ? hash : unused);
  }
  const std::span<const std::size_t> sizes = files.sizes;
  return {Corpus::token_files(std::move(files.tokens), sizes.first(training),
                              sizes.subspan(training), recipe.vocabulary, positions_of(recipe)),
          hash.hex()};
}

/// Throws UsageError if there is no sample or batch to train on. (Rows there always are.)
void require_samples(const Recipe& recipe, const Corpus& corpus) {
  const auto split = Corpus::Split::training;
  const std::size_t sequence = positions_of(recipe);
  if (corpus.samples(split) == 0) {
    throw UsageError(
        recipe.form == DataForm::lines
            ? fmt::format("corpus '{}' has one document: none is left for training", recipe.data)
            : fmt::format("corpus '{}' has no {} tokens in a row for training: a window of {} and "
                          "its successors",
                          recipe.data, sequence + 1, sequence),
        recipe.form == DataForm::lines ? "give one with two lines or more"
                                       : "give a longer one, or a smaller --sequence");
  }
  if (recipe.order == DataOrder::random || recipe.batch == 0) return;
  if (recipe.batch < corpus.samples(split) / sequence + 2 &&
      corpus.batches_in_order(split, recipe.batch) > 0) {
    return;
  }
  throw UsageError(fmt::format("no file of corpus '{}' holds a batch: {} x {} tokens and one more",
                               recipe.data, recipe.batch, sequence),
                   "give a longer one, or a smaller --batch or --sequence");
}

}  // namespace

Corpus corpus_of(const Recipe& recipe, std::string text) {
  if (recipe.model == ModelKind::mlp) return {std::move(text), recipe.context};
  if (recipe.form == DataForm::lines) {
    return Corpus::documents(std::move(text), positions_of(recipe));
  }
  return Corpus::stream(std::move(text), positions_of(recipe), recipe.all_bytes);
}

std::pair<Corpus, std::string> read_corpus(const Recipe& recipe) {
  const bool tokens = recipe.form == DataForm::tokens;
  const std::string hint = tokens ? "--data FILE: token files such as llm.c's"
                                  : "--data FILE: a readable text file, one document a line";
  if (recipe.data.empty()) throw UsageError("no corpus is given", hint);
  if (recipe.order == DataOrder::sequential && recipe.form == DataForm::lines) {
    throw UsageError("order is sequential, which windows have, but documents are drawn at random",
                     "--order random");
  }
  try {
    auto read = tokens ? read_tokens(recipe) : read_text(recipe);
    require_samples(recipe, read.first);
    return read;
  } catch (const UsageError& e) {
    throw UsageError(e.what(), e.hint().empty() ? hint : e.hint());
  }
}

Corpus vocabulary_corpus(const Recipe& recipe, const std::string& bytes) {
  if (recipe.model == ModelKind::gpt2 && recipe.form == DataForm::tokens) {
    return Corpus::token_files({}, {}, {}, recipe.vocabulary, positions_of(recipe));
  }
  // One byte more: a carriage return at the end would be taken for part of a line end.
  return corpus_of(recipe, recipe.form == DataForm::lines ? bytes + bytes.front() : bytes);
}

}  // namespace meshparity
