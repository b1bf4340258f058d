#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace meshparity {

/// Text from a file or a user as it may be shown on a terminal: control characters and bytes that
/// are no UTF-8 as "\x1b", and no more than about `most` bytes of it, followed by the number of
/// those left out.
std::string printable(std::string_view text, std::size_t most = 120);

/// The same for lines of our own that quote such text: line ends stay, each line is cut.
std::string printable_lines(std::string_view text, std::size_t most_of_a_line = 2000);

}  // namespace meshparity
