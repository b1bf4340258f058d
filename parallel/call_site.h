#pragma once

#include <string>

namespace meshparity {

/// Where an operation was called. (std::source_location needs a builtin that clang 14 lacks.)
struct CallSite {
  const char* file = "";
  int line = 0;
  const char* function = "";

  static constexpr CallSite here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                                 const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

/// "parallel/train_pp.cpp:88 (train_pp)": the last two parts of the path, the line, the function.
std::string to_string(const CallSite& site);

}  // namespace meshparity
