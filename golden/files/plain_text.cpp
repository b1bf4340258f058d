#include "golden/files/plain_text.h"

#include <fmt/format.h>

#include "model/error.h"

namespace meshparity {

std::string_view plain_text(std::string_view text, TextKind kind, const std::string& what,
                            const std::string& path) {
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    throw UsageError(
        fmt::format("{} '{}' is UTF-16: it begins with its byte order mark", what, path),
        "save it as UTF-8, or iconv -f UTF-16 -t UTF-8");
  }
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const bool no_line_feed = text.find('\n') == std::string_view::npos;
  if (kind == TextKind::lines && no_line_feed && text.find('\r') != std::string_view::npos) {
    throw UsageError(fmt::format("{} '{}' ends its lines in carriage returns alone", what, path),
                     "end them in line feeds, as tr '\\r' '\\n' does");
  }
  return text;
}

}  // namespace meshparity
