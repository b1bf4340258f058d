#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Numbers as people and files write them, exactly: what is printed reads back as the same bits.
namespace meshparity {

/// A whole number >= 0 in decimal digits. Throws UsageError that names the text and what is wrong
/// with it: empty, a sign, not a number, trailing text, too large.
std::uint64_t parse_whole(std::string_view text);

/// A finite decimal number >= 0 that the type (float or double) can hold, rounded once. Throws
/// UsageError likewise.
template <typename Number>
Number parse_decimal(std::string_view text);

/// The shortest decimal text that reads back as the same number.
std::string decimal_text(float value);
std::string decimal_text(double value);

/// "0x1.8p+1": exact, with no more digits than it takes.
std::string hex_text(double value);

/// Reads what `hex_text` wrote. Throws UsageError for anything else, and for values not finite.
double parse_hex(std::string_view text);

/// A digest as 16 lower-case hexadecimal digits; reading throws UsageError for anything else.
std::string digest_text(std::uint64_t digest);
std::uint64_t parse_digest(std::string_view text);

}  // namespace meshparity
