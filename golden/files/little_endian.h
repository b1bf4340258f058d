#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// Numbers as files of tensors hold them: little-endian on every machine.
namespace meshparity {

template <std::unsigned_integral Word>
void append_little_endian(std::string& bytes, Word word) {
  for (std::size_t i = 0; i < sizeof(Word); ++i) {
    bytes.push_back(static_cast<char>(word >> (8 * i) & 0xff));
  }
}

template <std::unsigned_integral Word>
Word little_endian_at(std::string_view bytes, std::size_t at) {
  Word word = 0;
  for (std::size_t i = 0; i < sizeof(Word); ++i) {
    word |=
        static_cast<Word>(static_cast<Word>(static_cast<unsigned char>(bytes[at + i])) << (8 * i));
  }
  return word;
}

/// The F32 value at byte `at`.
inline float float_at(std::string_view bytes, std::size_t at) {
  return std::bit_cast<float>(little_endian_at<std::uint32_t>(bytes, at));
}

}  // namespace meshparity
