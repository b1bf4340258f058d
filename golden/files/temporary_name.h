#pragma once

#include <cstddef>
#include <string>

namespace meshparity {

/// The name of a file that must not outlive the process: while this object lives,
/// `remove_temporaries` removes the file of that name, if there is one. The name is unpredictable,
/// and short, so that it fits wherever a file can have a name.
class TemporaryName {
 public:
  /// A new name in `folder` (empty: the working directory). Throws UsageError if the path is too
  /// long, EnvironmentError if the process has too many, or if there are no random numbers.
  explicit TemporaryName(const std::string& folder);
  ~TemporaryName();
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;

  const char* path() const;

 private:
  std::size_t slot_;
};

/// For a process that ends without unwinding. Async-signal-safe; may be called from any thread.
void remove_temporaries() noexcept;

/// Signals that end the process (SIGINT, SIGTERM, SIGHUP, SIGABRT and others) remove its temporary
/// files first. What the caller was started to ignore stays ignored; handlers of libraries that
/// were loaded before give way (UCX takes SIGHUP to debug itself). Writing to a closed pipe or
/// beyond the limit on file sizes becomes an error of that write instead of a signal.
void remove_temporaries_on_signals() noexcept;

}  // namespace meshparity
