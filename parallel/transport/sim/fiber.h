#pragma once

#include <ucontext.h>

#include <csetjmp>
#include <cstddef>
#include <functional>
#include <memory>

namespace meshparity {

/// A function with a stack of its own. It runs in the thread that made it, from one switch to it
/// until its own next switch, so fibers of one thread need no locks. Exceptions that one fiber is
/// handling, or that are unwinding it, stay its own.
class Fiber {
 public:
  /// Runs as the fiber. Returns the fiber that goes on when this one is over. Must not throw.
  using Body = std::function<Fiber&()>;

  /// How deep a body may call. Untouched pages take no memory; the page below the stack is
  /// protected, so that an overflow ends the process.
  static constexpr std::size_t kStackBytes = std::size_t{1} << 20U;

  /// The caller as it is, on the stack it has, so that fibers can switch back to it.
  Fiber();
  /// `body` starts at the first switch to the fiber. Throws std::system_error if the machine has
  /// no memory for one more stack. Stacks of fibers that are gone are used again.
  explicit Fiber(Body body);
  /// A body that has started must be over: what is on its stack is forgotten.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Called by this fiber: `next` goes on; returns when someone switches back.
  void switch_to(Fiber& next);

 private:
  struct Unmap {
    void operator()(std::byte* lowest) const noexcept;
  };
  using Stack = std::unique_ptr<std::byte, Unmap>;  // from its guard page up
  struct StackPool;

  static StackPool& pool();
  static void start() noexcept;
  [[noreturn]] void go_on();
  void depart(Fiber& next, bool for_good);
  void arrive();

  Body body_;
  Stack stack_;
  ucontext_t context_{};    // of its start
  std::jmp_buf left_at_{};  // once it has run
  [[maybe_unused]] bool has_run_ = false;
  // While another fiber runs: the exceptions this one handles (the C++ ABI's __cxa_eh_globals),
  void* caught_exceptions_ = nullptr;
  unsigned int uncaught_exceptions_ = 0;
  // and what sanitizers want to know.
  const void* stack_bottom_ = nullptr;
  std::size_t stack_size_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] void* sanitizer_fiber_ = nullptr;
};

}  // namespace meshparity
