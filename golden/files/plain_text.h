#pragma once

#include <string>
#include <string_view>

namespace meshparity {

/// What a text is read as: lines, or a stream of bytes that need not have any.
enum class TextKind { lines, bytes };

/// The text of a file without a UTF-8 byte order mark, which Windows editors put before it. `what`
/// and `path` name the file in errors. Throws UsageError for UTF-16 (two bytes a character), and
/// for lines that end in a carriage return alone.
std::string_view plain_text(std::string_view text, TextKind kind, const std::string& what,
                            const std::string& path);

}  // namespace meshparity
