#include "golden/files/number_text.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

#include "model/error.h"

namespace meshparity {
namespace {

/// Throws for text that is no number of any kind: empty, or with a sign.
void reject_common(std::string_view text) {
  if (text.empty()) throw UsageError("the value is empty", "give a number");
  if (text.front() == '-') {
    throw UsageError(fmt::format("'{}' is negative", text), "give a number without a sign");
  }
}

template <typename Number>
std::string to_text(Number value, std::chars_format format) {
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
  return {buffer.data(), end};
}

}  // namespace

std::uint64_t parse_whole(std::string_view text) {
  reject_common(text);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    throw UsageError(fmt::format("'{}' is too large", text),
                     "give a whole number below 18446744073709551616");
  }
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(fmt::format("'{}' is not a whole number", text), "give digits only");
  }
  return value;
}

template <typename Number>
Number parse_decimal(std::string_view text) {
  reject_common(text);
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size() ||
      !std::isfinite(value)) {
    throw UsageError(fmt::format("'{}' is not a decimal number", text),
                     text.find(',') == std::string_view::npos
                         ? "give a number such as 0.1 or 1e-3"
                         : "write a point before the decimals, such as 0.1 or 1e-3");
  }
  const std::string_view digits = text.substr(0, text.find_first_of("eE"));
  const bool vanished = value == 0 && digits.find_first_of("123456789") != std::string_view::npos;
  if (error == std::errc::result_out_of_range || vanished) {
    const bool single = sizeof(Number) == sizeof(float);
    throw UsageError(
        fmt::format("'{}' does not fit a {}-bit float", text, 8 * sizeof(Number)),
        single ? "give a number between 1e-38 and 3e38" : "give a number between 1e-307 and 1e308");
  }
  return value;
}

template float parse_decimal<float>(std::string_view text);
template double parse_decimal<double>(std::string_view text);

std::string decimal_text(float value) { return fmt::format("{}", value); }
std::string decimal_text(double value) { return fmt::format("{}", value); }

std::string hex_text(double value) {
  const std::string text = to_text(value, std::chars_format::hex);
  return text.starts_with('-') ? "-0x" + text.substr(1) : "0x" + text;
}

double parse_hex(std::string_view text) {
  const bool negative = text.starts_with('-');
  std::string_view rest = text.substr(negative ? 1 : 0);
  double value = 0;
  if (rest.starts_with("0x")) {
    rest.remove_prefix(2);
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), value, std::chars_format::hex);
    value = negative ? -value : value;
    // One spelling per value: equal bits are equal text.
    if (error == std::errc() && end == rest.data() + rest.size() && std::isfinite(value) &&
        hex_text(value) == text) {
      return value;
    }
  }
  throw UsageError(fmt::format("'{}' is not a hexadecimal float", text), "write it as in 0x1.8p+1");
}

std::string digest_text(std::uint64_t digest) { return fmt::format("{:016x}", digest); }

std::uint64_t parse_digest(std::string_view text) {
  std::uint64_t digest = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), digest, 16);
  if (error != std::errc() || end != text.data() + text.size() || digest_text(digest) != text) {
    throw UsageError(fmt::format("digest '{}' is not 16 lower-case hex digits", text));
  }
  return digest;
}

}  // namespace meshparity
