#pragma once

#include <string>

namespace meshparity {

/// Where an operation was called; the file is a path in the project. (std::source_location needs a
/// builtin that clang 14 lacks.)
struct CallSite {
  const char* file = "";
  int line = 0;
  const char* function = "";

  static constexpr CallSite here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                                 const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

/// "parallel/train_pp.cpp:88 (train_pp)": file, line and function.
inline std::string to_string(const CallSite& site) {
  return std::string(site.file) + ":" + std::to_string(site.line) + " (" + site.function + ")";
}

}  // namespace meshparity
