#include "model/corpus.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

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

using Occurs = std::array<bool, 256>;

void mark(Occurs& occurs, std::string_view text) {
  for (const char byte : text) occurs[static_cast<unsigned char>(byte)] = true;
}

std::vector<unsigned char> bytes_in_order(const Occurs& occurs) {
  std::vector<unsigned char> bytes;
  for (std::size_t byte = 0; byte < occurs.size(); ++byte) {
    if (occurs[byte]) bytes.push_back(static_cast<unsigned char>(byte));
  }
  return bytes;
}

/// The token of each byte; the first byte's is `first`.
std::array<std::uint8_t, 256> tokens_of(std::span<const unsigned char> bytes, std::size_t first) {
  std::array<std::uint8_t, 256> tokens{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    tokens[bytes[i]] = static_cast<std::uint8_t>(first + i);
  }
  return tokens;
}

/// Places and draws have 32 bits.
void require_below_4_gib(std::string_view text) {
  if (text.size() < std::numeric_limits<std::uint32_t>::max()) return;
  throw UsageError("the corpus has " + std::to_string(text.size()) + " bytes, the limit is 4 GiB",
                   "cut it into parts");
}

std::string named(unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string name = {'0', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  if (byte > ' ' && byte < 0x7f) name += std::string(" ('") + static_cast<char>(byte) + "')";
  return name;
}

/// Token numbers, separated by spaces.
std::vector<Token> numbers_in(std::string_view text, std::size_t vocabulary) {
  std::vector<Token> tokens;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    if (*at == ' ') {
      ++at;
      continue;
    }
    std::size_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc() || number >= vocabulary || (next != end && *next != ' ')) {
      throw UsageError(
          "'" + std::string(at, std::find(at, end, ' ')) + "' at byte " +
              std::to_string(at - text.data()) + " is no token of this vocabulary",
          "give numbers from 0 to " + std::to_string(vocabulary - 1) + ", separated by spaces");
    }
    tokens.push_back(static_cast<Token>(number));
    at = next;
  }
  return tokens;
}

}  // namespace

Corpus::Corpus(std::string text, std::size_t context) : kind_(Kind::rows), context_(context) {
  read_lines(std::move(text));
  share_out(narrow_.size());
}

Corpus Corpus::documents(std::string text, std::size_t sequence) {
  Corpus corpus(Kind::documents);
  corpus.context_ = corpus.positions_ = sequence;
  corpus.read_lines(std::move(text));
  corpus.share_out(corpus.documents_.size() - 1);
  return corpus;
}

Corpus Corpus::stream(std::string text, std::size_t sequence, bool all_bytes) {
  if (text.empty()) throw UsageError("the corpus holds no text", "give a file with some text");
  require_below_4_gib(text);
  Corpus corpus(Kind::windows);
  corpus.context_ = corpus.positions_ = sequence;
  Occurs occurs{};
  if (all_bytes) {
    occurs.fill(true);
  } else {
    mark(occurs, text);
  }
  corpus.bytes_ = bytes_in_order(occurs);
  corpus.vocabulary_ = corpus.bytes_.size();
  const auto token_of = tokens_of(corpus.bytes_, 0);
  for (char& byte : text) {
    byte = static_cast<char>(token_of[static_cast<unsigned char>(byte)]);
  }
  const std::size_t training = text.size() / 10 * 9 + text.size() % 10 * 9 / 10;
  corpus.parts_[0].files = {{0, training}};
  corpus.parts_[1].files = {{training, text.size()}};
  corpus.narrow_ = std::move(text);
  for (Part& part : corpus.parts_) corpus.add_window_starts(part);
  return corpus;
}

Corpus Corpus::token_files(std::vector<std::uint16_t> tokens,
                           std::span<const std::size_t> training_sizes,
                           std::span<const std::size_t> validation_sizes, std::size_t vocabulary,
                           std::size_t sequence) {
  Corpus corpus(Kind::windows);
  corpus.context_ = corpus.positions_ = sequence;
  corpus.vocabulary_ = vocabulary;
  corpus.wide_ = std::move(tokens);
  std::size_t begin = 0;
  const auto add = [&](Part& part, std::span<const std::size_t> sizes) {
    for (const std::size_t size : sizes) {
      part.files.push_back({begin, begin + size});
      begin += size;
    }
    corpus.add_window_starts(part);
  };
  add(corpus.parts_[0], training_sizes);
  add(corpus.parts_[1], validation_sizes);
  return corpus;
}

void Corpus::read_lines(std::string text) {
  Occurs occurs{};
  for_each_line(text, [&](std::string_view line) { mark(occurs, line); });
  bytes_ = bytes_in_order(occurs);
  boundary_ = 1;
  vocabulary_ = bytes_.size() + boundary_;
  if (bytes_.empty()) {
    throw UsageError("the corpus holds no text", "give a file with one document a line");
  }
  require_below_4_gib(text);
  const auto token_of = tokens_of(bytes_, boundary_);
  if (!text.ends_with('\n')) text += '\n';
  const bool keep_starts = kind_ == Kind::documents;
  if (keep_starts) {
    documents_.reserve(1 + static_cast<std::size_t>(std::ranges::count(text, '\n')));
  }
  // In place: no token comes to stand behind the byte or the line end that it is made of.
  std::size_t size = 0;
  for_each_line(text, [&](std::string_view line) {
    if (keep_starts) documents_.push_back(static_cast<std::uint32_t>(size));
    for (const char byte : line) {
      text[size++] = static_cast<char>(token_of[static_cast<unsigned char>(byte)]);
    }
    text[size++] = 0;
  });
  if (keep_starts) documents_.push_back(static_cast<std::uint32_t>(size));
  text.resize(size);
  narrow_ = std::move(text);
}

void Corpus::share_out(std::size_t total) {
  const std::size_t training = total / 10 * 9 + total % 10 * 9 / 10;
  parts_[0].samples = training;
  parts_[1].first = training;
  parts_[1].samples = total - training;
}

void Corpus::add_window_starts(Part& part) const {
  for (const Range file : part.files) {
    if (file.size() > positions_) part.samples += file.size() - positions_;
  }
}

std::size_t Corpus::start_of(const Part& part, std::size_t index) const {
  for (const Range file : part.files) {
    const std::size_t starts = file.size() > positions_ ? file.size() - positions_ : 0;
    if (index < starts) return file.begin + index;
    index -= starts;
  }
  return stream_size();
}

char Corpus::byte_of(Token token) const {
  return static_cast<char>(bytes_.at(static_cast<std::size_t>(token) - boundary_));
}

std::vector<Token> Corpus::encode(std::string_view text) const {
  if (bytes_.empty()) return numbers_in(text, vocabulary_);
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto found = std::ranges::lower_bound(bytes_, byte);
    if (found == bytes_.end() || *found != byte) {
      throw UsageError(
          "the vocabulary has no byte " + named(byte) + ", which is at byte " + std::to_string(i),
          "use bytes that occur in the corpus");
    }
    tokens.push_back(
        static_cast<Token>(static_cast<std::size_t>(found - bytes_.begin()) + boundary_));
  }
  return tokens;
}

std::string Corpus::text_of(Token token) const {
  if (bytes_.empty()) return std::to_string(token) + ' ';
  return {byte_of(token)};
}

Token Corpus::first_token() const {
  return bytes_.empty() ? static_cast<Token>(vocabulary_ - 1) : Token{0};
}

void Corpus::sample(Split split, std::size_t index, std::span<Token> tokens,
                    std::span<Token> targets) const {
  const Part& of = part(split);
  if (kind_ == Kind::rows) {
    fill_row(of.first + index, tokens, targets);
  } else if (kind_ == Kind::documents) {
    fill_document(of.first + index, tokens, targets);
  } else {
    const std::size_t start = start_of(of, index);
    fill_window({start, start + positions_ + 1}, tokens, targets);
  }
}

std::size_t Corpus::drawn_sample(Split split, std::uint64_t seed, std::uint64_t step,
                                 std::uint64_t slot) const {
  return drawn_sample(split, random_bits(seed, Stream::batch, step, slot));
}

std::size_t Corpus::drawn_sample(Split split, std::uint32_t bits) const {
  // The upper half of a 32 x 32 bit product maps 32 random bits evenly onto fewer than 2^32
  // samples.
  return static_cast<std::size_t>(std::uint64_t{bits} * samples(split) >> 32);
}

void Corpus::draw(Split split, std::uint64_t seed, std::uint64_t step, std::size_t first_slot,
                  std::span<Token> tokens, std::span<Token> targets) const {
  const RandomStream random(seed, Stream::batch);
  for (std::size_t i = 0; i < targets.size() / positions_; ++i) {
    sample(split, drawn_sample(split, random.bits(step, first_slot + i)),
           tokens.subspan(i * context_, context_), targets.subspan(i * positions_, positions_));
  }
}

std::size_t Corpus::targets_of(Split split, std::size_t index) const {
  if (kind_ != Kind::documents) return positions_;
  const std::size_t document = part(split).first + index;
  return std::min<std::size_t>(documents_[document + 1] - documents_[document], positions_);
}

std::size_t Corpus::drawn_targets(Split split, std::uint64_t seed, std::uint64_t step,
                                  std::size_t batch) const {
  if (kind_ != Kind::documents) return batch * positions_;
  const RandomStream random(seed, Stream::batch);
  std::size_t targets = 0;
  for (std::size_t slot = 0; slot < batch; ++slot) {
    targets += targets_of(split, drawn_sample(split, random.bits(step, slot)));
  }
  return targets;
}

std::size_t Corpus::batches_in_order(Split split, std::size_t batch) const {
  std::size_t batches = 0;
  for (const Range file : part(split).files) {
    if (!file.empty()) batches += (file.size() - 1) / (batch * positions_);
  }
  return batches;
}

std::size_t Corpus::sample_in_order(Split split, std::uint64_t step, std::size_t slot,
                                    std::size_t batch) const {
  std::uint64_t left = step % batches_in_order(split, batch);
  std::size_t starts = 0;  // of windows in the files before
  for (const Range file : part(split).files) {
    const std::size_t batches = file.empty() ? 0 : (file.size() - 1) / (batch * positions_);
    if (left < batches)
      return starts + (static_cast<std::size_t>(left) * batch + slot) * positions_;
    left -= batches;
    if (file.size() > positions_) starts += file.size() - positions_;
  }
  return starts;
}

std::size_t Corpus::consecutive_samples(Split split) const {
  if (kind_ != Kind::windows) return samples(split);
  std::size_t windows = 0;
  for (const Range file : part(split).files) {
    if (file.size() > 1) windows += leaf_count(file.size() - 1, positions_);
  }
  return windows;
}

void Corpus::consecutive_sample(Split split, std::size_t index, std::span<Token> tokens,
                                std::span<Token> targets) const {
  if (kind_ != Kind::windows) {
    sample(split, index, tokens, targets);
    return;
  }
  for (const Range file : part(split).files) {
    const std::size_t windows = file.size() > 1 ? leaf_count(file.size() - 1, positions_) : 0;
    if (index < windows) {
      fill_window({file.begin + index * positions_, file.end}, tokens, targets);
      return;
    }
    index -= windows;
  }
}

void Corpus::copy_tokens(std::size_t from, std::span<Token> to) const {
  const auto offset = static_cast<std::ptrdiff_t>(from);
  if (narrow_.empty()) {
    std::copy_n(wide_.begin() + offset, to.size(), to.begin());
  } else {
    std::transform(narrow_.begin() + offset,
                   narrow_.begin() + offset + static_cast<std::ptrdiff_t>(to.size()), to.begin(),
                   [](char token) { return Token{static_cast<unsigned char>(token)}; });
  }
}

void Corpus::fill_row(std::size_t row, std::span<Token> tokens, std::span<Token> targets) const {
  std::size_t known = 0;
  while (known < std::min(row, context_) && narrow_[row - known - 1] != 0) ++known;
  const std::size_t padding = context_ - known;
  std::ranges::fill(tokens.first(padding), 0);
  copy_tokens(row - known, tokens.subspan(padding));
  targets[0] = token_at(row);
}

void Corpus::fill_document(std::size_t document, std::span<Token> tokens,
                           std::span<Token> targets) const {
  const std::size_t start = documents_[document];
  const std::size_t size =
      std::min<std::size_t>(documents_[document + 1] - start, positions_);  // with its last 0
  copy_tokens(start, targets.first(size));
  std::ranges::fill(targets.subspan(size), kNoTarget);
  tokens[0] = 0;
  copy_tokens(start, tokens.subspan(1, size - 1));
  std::ranges::fill(tokens.subspan(size), 0);
}

void Corpus::fill_window(Range tokens_left, std::span<Token> tokens,
                         std::span<Token> targets) const {
  const std::size_t size = std::min(tokens_left.size() - 1, positions_);
  copy_tokens(tokens_left.begin, tokens.first(size));
  std::ranges::fill(tokens.subspan(size), 0);
  copy_tokens(tokens_left.begin + 1, targets.first(size));
  std::ranges::fill(targets.subspan(size), kNoTarget);
}

}  // namespace meshparity
