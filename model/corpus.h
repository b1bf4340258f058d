#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace meshparity {

using Token = std::int32_t;

/// A text as training rows. One document a line; the vocabulary is the boundary token 0 and then
/// the bytes that occur, in byte order. A document of n bytes gives n + 1 rows (context -> next
/// token): the context is the `context` tokens before the target, padded with 0 on the left; the
/// last target is 0. A line may end in "\n" or "\r\n"; an empty line is a document of no bytes (one
/// row). The first 90 % of the rows are for training, the others for validation.
class Corpus {
 public:
  enum class Split { training, validation };

  /// Throws UsageError if the text holds no byte besides line ends.
  Corpus(std::string_view text, std::size_t context);

  std::size_t context() const { return context_; }
  std::size_t vocabulary() const { return bytes_.size() + 1; }
  std::size_t rows(Split split) const;

  /// The byte of a token >= 1.
  char byte_of(Token token) const;

  /// Row `row` of a split: fills `tokens` (context) and returns the target.
  Token row(Split split, std::size_t row, std::span<Token> tokens) const;

  /// The row that `slot` of the global batch of `step` holds: a pure function of (seed, step,
  /// slot), so a rank draws its own samples and nobody else's.
  std::size_t drawn_row(Split split, std::uint64_t seed, std::uint64_t step,
                        std::uint64_t slot) const;

  /// Fills `tokens` (slots, context) and `targets` (slots) with slots [first_slot, first_slot +
  /// targets.size()) of the batch of `step`.
  void draw(Split split, std::uint64_t seed, std::uint64_t step, std::size_t first_slot,
            std::span<Token> tokens, std::span<Token> targets) const;

 private:
  std::size_t context_;
  std::vector<unsigned char> bytes_;  // token t is bytes_[t - 1]
  // Small types: rows are drawn from all over, and each costs a visit to memory.
  std::vector<std::uint16_t> stream_;  // every document followed by a 0; row r predicts stream_[r]
  std::vector<std::uint32_t> start_;   // of row r's document in stream_

  std::size_t drawn_row(Split split, std::uint32_t bits) const;
};

}  // namespace meshparity
