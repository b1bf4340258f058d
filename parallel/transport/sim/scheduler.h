#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "parallel/transport/sim/comm_sim.h"
#include "parallel/transport/sim/fiber.h"

/// The inside of a simulated world. Programs use comm_sim.h.
namespace meshparity::sim {

/// Thrown in every rank of a world that has stopped. Not a std::exception, so that a rank's own
/// error handling lets it pass.
struct Unwound {};

/// What a world draws from its seed; the same numbers on every platform.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  /// 0 .. most. The modulo's bias does not matter here.
  std::size_t up_to(std::size_t most) {
    const std::uint64_t bits = engine_();
    return most + 1 == 0 ? bits : bits % (most + 1);
  }

 private:
  std::mt19937_64 engine_;
};

/// Something that happens at a later turn.
class Event {
 public:
  virtual ~Event() = default;
  virtual void happen() = 0;
};

/// Ranks that take turns, each a fiber of the thread that calls `run`. Only the one that runs may
/// call anything here, and nothing that they share needs a lock.
class Scheduler {
 public:
  /// `stalled` is called when no rank is ready and no event is to come. It must stop the world.
  Scheduler(const SimOptions& options, Random& random, std::function<void()> stalled);

  /// Runs `body(rank)` for every rank, once; returns when all have returned. `body` must not throw.
  /// It may start in a world that has stopped. Throws std::system_error before any rank has started
  /// if the machine has no memory for all stacks.
  void run(const std::function<void(std::size_t rank)>& body);

  /// Lets another rank go first, if the seed says so. Throws Unwound if the world has stopped.
  void pause(std::size_t rank);
  /// Waits until someone wakes this rank. Throws Unwound if the world has stopped.
  void block(std::size_t rank);
  void wake(std::size_t rank);

  /// `event` happens `delay` turns from now; it must live until then.
  void schedule(Event& event, std::size_t delay);
  /// Makes room for this many events at once.
  void reserve_events(std::size_t count) { events_.reserve(count); }

  /// From now on nothing happens any more and every rank is unwound at its next operation.
  void stop();
  bool stopped() const { return stopped_; }
  void throw_if_stopped() const {
    if (stopped_) throw Unwound{};
  }

 private:
  struct Turn {
    std::optional<Fiber> fiber;  // of the rank, while the world runs
    std::size_t position = 0;    // in ready_, or nowhere
    bool left = false;
  };
  struct Due {
    std::uint64_t turn;
    std::uint64_t sequence;
    Event* event;
  };
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

  Fiber& leave(std::size_t rank);
  void switch_from(std::size_t rank);
  std::size_t next();
  std::size_t chosen() const;
  void fire_due_events();
  void make_ready(std::size_t rank);
  void make_unready(std::size_t rank);

  Random& random_;
  std::function<void()> stalled_;
  std::size_t patience_;
  SimOptions::Turns order_;
  std::vector<Turn> turns_;
  Fiber caller_;  // of run
  std::vector<std::size_t> ready_;
  std::vector<Due> events_;  // a heap, the earliest in front
  std::uint64_t turn_ = 0;
  std::uint64_t sequence_ = 0;
  std::size_t left_ = 0;
  bool stopped_ = false;
};

}  // namespace meshparity::sim
