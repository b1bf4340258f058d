#pragma once

#include <stdexcept>
#include <string>

namespace meshparity {

/// What a user typed or supplied cannot be used. `what()` names the value and the reason,
/// `hint()` is the next step to try (may be empty).
class UsageError : public std::runtime_error {
 public:
  explicit UsageError(const std::string& reason, std::string hint = "")
      : std::runtime_error(reason), hint_(std::move(hint)) {}
  const std::string& hint() const { return hint_; }

 private:
  std::string hint_;
};

/// The machine failed: a full disk, a missing MPI, a rank that stopped answering.
class EnvironmentError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace meshparity
