#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/numerics/range.h"

namespace meshparity {

using Token = std::int32_t;

/// The target of a position that has none (padding): it adds nothing to the loss.
inline constexpr Token kNoTarget = -1;

/// Data to train and validate on, as samples of tokens and targets. What a sample is:
///
///     constructor    a row: `context` tokens, padded with 0 on the left, and the one after them
///     documents      a document: 0 and its bytes -> its bytes and 0, padded on the right
///     stream         a window of a text: `sequence` bytes -> the bytes one later
///     token_files    a window of a file of tokens, likewise
///
/// Rows and documents come from texts with one document a line. A line may end in "\n" or "\r\n"
/// and may be empty. The vocabulary is the boundary token 0 and then the bytes that occur in lines,
/// in byte order. A document of n bytes has n + 1 targets, the last of them 0.
///
/// A text's memory becomes that of its tokens, so a corpus takes no more than its file.
///
/// The first 90 % (of rows, documents or bytes) are for training, the others for validation; token
/// files are for one or the other.
class Corpus {
 public:
  enum class Split { training, validation };

  /// Rows. Throws UsageError if the text holds no byte besides line ends, or has 4 GiB.
  Corpus(std::string text, std::size_t context);

  /// Documents of at most `sequence` targets: what is longer is cut. Throws as rows do.
  static Corpus documents(std::string text, std::size_t sequence);

  /// One stream of bytes, line ends among them; the vocabulary is the bytes that occur, in byte
  /// order, or all 256. Throws UsageError for an empty text, or 4 GiB.
  static Corpus stream(std::string text, std::size_t sequence, bool all_bytes);

  /// `tokens`: all files, one after the other, of these sizes. A window never crosses from one to
  /// the next. Every token is below `vocabulary`; what a token stands for is unknown.
  static Corpus token_files(std::vector<std::uint16_t> tokens,
                            std::span<const std::size_t> training_sizes,
                            std::span<const std::size_t> validation_sizes, std::size_t vocabulary,
                            std::size_t sequence);

  std::size_t context() const { return context_; }      ///< tokens of a sample
  std::size_t positions() const { return positions_; }  ///< targets of a sample, absent ones too
  std::size_t vocabulary() const { return vocabulary_; }
  /// The samples that may be drawn: windows may start at any token.
  std::size_t samples(Split split) const { return part(split).samples; }

  /// The byte of a token. Of a text: a boundary has none.
  char byte_of(Token token) const;
  /// The bytes of all tokens that have one, in token order; empty for token files.
  std::string bytes() const { return {bytes_.begin(), bytes_.end()}; }
  /// True if token 0 is the boundary of documents.
  bool has_boundary() const { return boundary_ == 1; }
  /// A text as tokens; of token files, a text of numbers. Throws UsageError that names the byte or
  /// number that the vocabulary lacks, and where it is.
  std::vector<Token> encode(std::string_view text) const;
  /// The other way round; numbers end with a space.
  std::string text_of(Token token) const;
  /// What stands before the first token of a text: the boundary (in GPT-2's vocabulary the last
  /// token), or the first byte.
  Token first_token() const;

  /// Fills `tokens` (context) and `targets` (positions) with sample `index` of a split.
  void sample(Split split, std::size_t index, std::span<Token> tokens,
              std::span<Token> targets) const;

  /// The sample that `slot` of the global batch of `step` holds in random order: a pure function of
  /// (seed, step, slot), so a rank draws its own samples and nobody else's.
  std::size_t drawn_sample(Split split, std::uint64_t seed, std::uint64_t step,
                           std::uint64_t slot) const;

  /// Fills `tokens` (slots, context) and `targets` (slots, positions) with the slots from
  /// `first_slot` of the batch of `step`, in random order.
  void draw(Split split, std::uint64_t seed, std::uint64_t step, std::size_t first_slot,
            std::span<Token> tokens, std::span<Token> targets) const;

  /// The targets that slots [0, batch) of `step` have in random order.
  std::size_t drawn_targets(Split split, std::uint64_t seed, std::uint64_t step,
                            std::size_t batch) const;

  /// Batches of windows in the order of llm.c's loader: a step takes the next batch * sequence
  /// tokens and their successors; from the next file when fewer are left, from the first one again
  /// after the last. These are all there are before that.
  std::size_t batches_in_order(Split split, std::size_t batch) const;
  /// The sample of a slot in that order: a pure function of (step, slot, batch). At least one file
  /// must hold a batch.
  std::size_t sample_in_order(Split split, std::uint64_t step, std::size_t slot,
                              std::size_t batch) const;

  /// A whole split as consecutive samples: windows one after the other, the last of a file perhaps
  /// short and padded; rows and documents as they are.
  std::size_t consecutive_samples(Split split) const;
  void consecutive_sample(Split split, std::size_t index, std::span<Token> tokens,
                          std::span<Token> targets) const;

 private:
  enum class Kind { rows, documents, windows };
  struct Part {
    std::size_t first = 0;  ///< rows and documents: number of the first one
    std::size_t samples = 0;
    std::vector<Range> files;  ///< windows: where they are in the stream
  };

  explicit Corpus(Kind kind) : kind_(kind) {}

  const Part& part(Split split) const { return parts_[split == Split::training ? 0 : 1]; }
  void read_lines(std::string text);
  void share_out(std::size_t total);
  void add_window_starts(Part& part) const;
  std::size_t start_of(const Part& part, std::size_t index) const;
  std::size_t drawn_sample(Split split, std::uint32_t bits) const;
  std::size_t targets_of(Split split, std::size_t index) const;
  std::size_t stream_size() const { return narrow_.empty() ? wide_.size() : narrow_.size(); }
  Token token_at(std::size_t at) const {
    return narrow_.empty() ? wide_[at] : static_cast<unsigned char>(narrow_[at]);
  }
  void copy_tokens(std::size_t from, std::span<Token> to) const;
  void fill_row(std::size_t row, std::span<Token> tokens, std::span<Token> targets) const;
  void fill_document(std::size_t document, std::span<Token> tokens, std::span<Token> targets) const;
  void fill_window(Range tokens_left, std::span<Token> tokens, std::span<Token> targets) const;

  Kind kind_;
  std::size_t context_ = 1;
  std::size_t positions_ = 1;
  std::size_t vocabulary_ = 0;
  std::size_t boundary_ = 0;  ///< tokens before the first byte: 1 or 0
  std::vector<unsigned char> bytes_;
  // The stream of all tokens in one of these: small types, because samples are drawn from all over,
  // and each costs a visit to memory. Every document is followed by a 0; row r predicts token r.
  std::string narrow_;  ///< a byte each
  std::vector<std::uint16_t> wide_;
  std::vector<std::uint32_t> documents_;  ///< documents: where each starts, and the end
  std::array<Part, 2> parts_;             ///< training, validation
};

}  // namespace meshparity
