#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/transport/comm.h"

namespace meshparity {

/// How a simulated world behaves. Everything random is drawn from `seed`: the same seed gives the
/// same interleaving, the same delays and the same order of native float sums.
struct SimOptions {
  std::size_t ranks = 1;
  std::uint64_t seed = 0;
  /// Scheduler turns that a message may take after both sides are ready.
  std::size_t max_delay = 8;
  /// A rank hands over at one of (patience + 1) operations, on average; absent, up to 3 is drawn.
  std::optional<std::size_t> patience = std::nullopt;
  /// Which of the ranks that are ready goes on.
  enum class Turns { random, lowest_first, highest_first };
  Turns turns = Turns::random;
  /// What a loan is to the borrower: the lender's own memory, a copy, or now this and now that.
  enum class Loans { either, in_place, copied };
  Loans loans = Loans::either;

  /// Rank `rank` dies when it is about to start its operation number `operation` (from 0).
  struct Death {
    std::size_t rank = 0;
    std::size_t operation = 0;
  };
  std::optional<Death> death = std::nullopt;
};

/// What a rank was doing when a simulated world stopped.
struct SimWait {
  std::size_t rank = 0;   ///< in the world
  std::string operation;  ///< "recv", "all_gather", ...
  std::string group;      ///< name and members
  std::string waits_for;  ///< peer and tag, or the members that have not arrived
  CallSite site;
};

/// A simulated world could not go on: `what()` is the whole report, one line a rank.
class SimFailure : public std::runtime_error {
 public:
  enum class Kind { deadlock, mismatch, leaked_message, rank_died };
  SimFailure(Kind kind, const std::string& report, std::vector<SimWait> waits)
      : std::runtime_error(report), kind_(kind), waits_(std::move(waits)) {}
  Kind kind() const { return kind_; }
  const std::vector<SimWait>& waits() const { return waits_; }

 private:
  Kind kind_;
  std::vector<SimWait> waits_;
};

/// Runs `body` once per rank of a world that lives in this process. Each rank is a fiber in the
/// caller's thread (see fiber.h for how deep it may call). One runs at a time; at each
/// communication a seeded scheduler picks the next one. So ranks share what is thread_local, and
/// one that waits for anything but communication blocks all. Several threads may each run worlds,
/// and a rank may run one.
///
/// The world knows everything, so it reports at once: a deadlock (who waits for whom, in which
/// operation, called where), a collective whose ranks disagree on its name, group, order or sizes,
/// a request nobody waited for or a message nobody received, a rank that died.
///
/// It is the strictest transport that MPI allows: no message is buffered. Data moves from the
/// sender's buffer at the moment the operation completes, which is as late as the seed says, so a
/// buffer that is reused too early arrives corrupted; until then the receiver's buffer holds NaN.
/// Every collective operation waits for the whole group.
///
/// A rank that dies is unwound by an exception that is not a std::exception; so are all others once
/// the world has stopped. Throws CommError for options that make no sense, std::system_error before
/// any rank starts if there is no memory for all stacks, SimFailure, or whatever the first rank
/// to fail threw; then every other rank is unwound.
void run_simulated(const SimOptions& options, const std::function<void(Comm& world)>& body);

}  // namespace meshparity
