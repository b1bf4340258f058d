#include "model/corpus.h"

#include <algorithm>
#include <array>
#include <limits>

#include "model/error.h"
#include "model/numerics/philox.h"

namespace meshparity {
namespace {

/// Calls `visit` with each line, without its line end. A text that ends in a line end has no empty
/// last line.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    visit(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace

Corpus::Corpus(std::string_view text, std::size_t context) : context_(context) {
  std::array<bool, 256> occurs{};
  for_each_line(text, [&](std::string_view line) {
    for (const char byte : line) occurs[static_cast<unsigned char>(byte)] = true;
  });
  std::array<std::uint16_t, 256> token_of{};
  for (std::size_t byte = 0; byte < occurs.size(); ++byte) {
    if (!occurs[byte]) continue;
    bytes_.push_back(static_cast<unsigned char>(byte));
    token_of[byte] = static_cast<std::uint16_t>(bytes_.size());
  }
  if (bytes_.empty()) {
    throw UsageError("the corpus holds no text", "give a file with one document a line");
  }
  if (text.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw UsageError("the corpus has " + std::to_string(text.size()) + " bytes, the limit is 4 GiB",
                     "cut it into parts");
  }
  for_each_line(text, [&](std::string_view line) {
    const auto start = static_cast<std::uint32_t>(stream_.size());
    for (const char byte : line) stream_.push_back(token_of[static_cast<unsigned char>(byte)]);
    stream_.push_back(0);
    start_.resize(stream_.size(), start);
  });
}

std::size_t Corpus::rows(Split split) const {
  const std::size_t training = stream_.size() / 10 * 9 + stream_.size() % 10 * 9 / 10;
  return split == Split::training ? training : stream_.size() - training;
}

char Corpus::byte_of(Token token) const {
  return static_cast<char>(bytes_.at(static_cast<std::size_t>(token) - 1));
}

Token Corpus::row(Split split, std::size_t row, std::span<Token> tokens) const {
  const std::size_t at = split == Split::training ? row : rows(Split::training) + row;
  const std::size_t known = std::min(at - start_[at], context_);
  const std::size_t padding = context_ - known;
  std::fill_n(tokens.begin(), padding, Token{0});
  std::copy_n(stream_.begin() + static_cast<std::ptrdiff_t>(at - known), known,
              tokens.begin() + static_cast<std::ptrdiff_t>(padding));
  return stream_[at];
}

std::size_t Corpus::drawn_row(Split split, std::uint64_t seed, std::uint64_t step,
                              std::uint64_t slot) const {
  return drawn_row(split, random_bits(seed, Stream::batch, step, slot));
}

std::size_t Corpus::drawn_row(Split split, std::uint32_t bits) const {
  // The upper half of a 32 x 32 bit product maps 32 random bits evenly onto fewer than 2^32 rows.
  return static_cast<std::size_t>(std::uint64_t{bits} * rows(split) >> 32);
}

void Corpus::draw(Split split, std::uint64_t seed, std::uint64_t step, std::size_t first_slot,
                  std::span<Token> tokens, std::span<Token> targets) const {
  const RandomStream random(seed, Stream::batch);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i] = row(split, drawn_row(split, random.bits(step, first_slot + i)),
                     tokens.subspan(i * context_, context_));
  }
}

}  // namespace meshparity
