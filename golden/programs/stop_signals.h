#pragma once

namespace meshparity {

/// While this lives, the first SIGTERM or SIGINT only asks the process to stop; from then on they
/// do what they did before. Signals that the process was started to ignore stay ignored. There may
/// be one of these at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// True once a signal has come.
  static bool requested();
};

}  // namespace meshparity
