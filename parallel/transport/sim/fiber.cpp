// A checked longjmp takes a jump to another stack for a mistake. Headers read this.
#undef _FORTIFY_SOURCE
#include "parallel/transport/sim/fiber.h"

#include <cxxabi.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cfenv>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

// GCC defines __SANITIZE_*__, Clang answers __has_feature.
#ifdef __has_feature
#define MESHPARITY_HAS_FEATURE(feature) __has_feature(feature)
#else
#define MESHPARITY_HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || MESHPARITY_HAS_FEATURE(address_sanitizer)
#define MESHPARITY_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || MESHPARITY_HAS_FEATURE(thread_sanitizer)
#define MESHPARITY_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// Contexts keep a mask of signals, which costs two calls of the system for each switch: a third of
// the time of simulated worlds. Jumps keep none, and all fibers have the same; the floating point
// environment, which contexts keep, is put back. The sanitizers follow contexts only.
#if defined(MESHPARITY_ASAN) || defined(MESHPARITY_TSAN)
#define MESHPARITY_KEEPS_CONTEXTS
#endif

namespace meshparity {
namespace {

/// What a thread keeps about exceptions in flight: the two members that the Itanium C++ ABI
/// (Exception Handling, 2.2.2) lays down.
struct ExceptionGlobals {
  void* caught;
  unsigned int uncaught;
};

ExceptionGlobals& exception_globals() {
  return *reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
}

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t mapped_bytes() { return page_bytes() + Fiber::kStackBytes; }

[[noreturn]] void throw_no_stack() {
  throw std::system_error(errno, std::generic_category(), "no memory for a fiber's stack");
}

// Between two fibers: who has switched, and to whom.
struct Switch {
  Fiber* from = nullptr;
  Fiber* to = nullptr;
};
thread_local Switch last_switch;

/// How the processor computes. On x86-64 that is two control words; <cfenv> keeps all of the x87
/// unit with them, which takes longer than the rest of a switch.
struct FloatingPointEnvironment {
#ifdef __x86_64__
  unsigned int vectors = 0;
  unsigned short x87 = 0;

  void keep() {
    vectors = __builtin_ia32_stmxcsr();
    __asm__ volatile("fnstcw %0" : "=m"(x87));
  }
  void put_back() const {
    __builtin_ia32_ldmxcsr(vectors);
    __asm__ volatile("fldcw %0" : : "m"(x87));
  }
#else
  std::fenv_t all{};

  void keep() { std::fegetenv(&all); }
  void put_back() const { std::fesetenv(&all); }
#endif
};

/// ThreadSanitizer's name for the caller.
void* running_for_sanitizer() {
#ifdef MESHPARITY_TSAN
  return __tsan_get_current_fiber();
#else
  return nullptr;
#endif
}

/// Goes on at `to`; returns when someone goes on at `from`.
#if defined(MESHPARITY_ASAN)
void swap_contexts(ucontext_t* from, const ucontext_t* to) {
  // AddressSanitizer's own swapcontext warns on stderr of what does not happen here.
  volatile bool is_back = false;
  ::getcontext(from);
  if (is_back) return;
  is_back = true;
  ::setcontext(to);
}
#elif defined(MESHPARITY_TSAN)
constexpr auto swap_contexts = &::swapcontext;
#endif

}  // namespace

/// Stacks of this thread that no fiber has.
struct Fiber::StackPool {
  std::vector<Stack> free;
  std::size_t mapped = 0;

  Stack take() {
    if (free.empty()) return map();
    Stack stack = std::move(free.back());
    free.pop_back();
#ifdef MESHPARITY_ASAN
    // The frames of a fiber that has ended.
    __asan_unpoison_memory_region(stack.get() + page_bytes(), kStackBytes);
#endif
    return stack;
  }

  Stack map() {
    free.reserve(mapped + 1);  // so that giving it back cannot fail
    void* lowest = ::mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (lowest == MAP_FAILED) throw_no_stack();
    Stack stack(static_cast<std::byte*>(lowest));
    if (::mprotect(lowest, page_bytes(), PROT_NONE) != 0) throw_no_stack();
    ++mapped;
    return stack;
  }
};

void Fiber::Unmap::operator()(std::byte* lowest) const noexcept {
  ::munmap(lowest, mapped_bytes());
}

Fiber::StackPool& Fiber::pool() {
  thread_local StackPool stacks;
  return stacks;
}

Fiber::Fiber() : has_run_(true), sanitizer_fiber_(running_for_sanitizer()) {}

Fiber::Fiber(Body body) : body_(std::move(body)), stack_(pool().take()) {
  ::getcontext(&context_);
  std::byte* bottom = stack_.get() + page_bytes();
  context_.uc_stack.ss_sp = bottom;
  context_.uc_stack.ss_size = kStackBytes;
  ::makecontext(&context_, &Fiber::start, 0);
  // Only makecontext needs it. AddressSanitizer would forget what it knows of this stack at each
  // switch; it is told about switches by other means.
  context_.uc_stack = {};
  stack_bottom_ = bottom;
  stack_size_ = kStackBytes;
#ifdef MESHPARITY_TSAN
  sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (!stack_) return;
#ifdef MESHPARITY_TSAN
  __tsan_destroy_fiber(sanitizer_fiber_);
#endif
  pool().free.push_back(std::move(stack_));
}

/// Where it was left, or at its start.
[[gnu::always_inline]] inline void Fiber::go_on() {
#ifndef MESHPARITY_KEEPS_CONTEXTS
  if (has_run_) _longjmp(left_at_, 1);
  has_run_ = true;
#endif
  ::setcontext(&context_);
  std::abort();  // not reached
}

void Fiber::switch_to(Fiber& next) {
  depart(next, false);
#ifdef MESHPARITY_KEEPS_CONTEXTS
  swap_contexts(&context_, &next.context_);
#else
  FloatingPointEnvironment environment;
  environment.keep();
  if (_setjmp(left_at_) == 0) next.go_on();
  environment.put_back();
#endif
  arrive();
}

/// The outermost function of every fiber with a stack of its own.
void Fiber::start() noexcept {
  Fiber& self = *last_switch.to;
  self.arrive();
  Fiber& next = self.body_();
  self.depart(next, true);
  next.go_on();
}

/// Immediately before `next` goes on. Inlined, as ThreadSanitizer keeps a call stack per fiber.
[[gnu::always_inline]] inline void Fiber::depart(Fiber& next, [[maybe_unused]] bool for_good) {
  ExceptionGlobals& globals = exception_globals();
  caught_exceptions_ = std::exchange(globals.caught, next.caught_exceptions_);
  uncaught_exceptions_ = std::exchange(globals.uncaught, next.uncaught_exceptions_);
  last_switch = {this, &next};
#ifdef MESHPARITY_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, next.stack_bottom_,
                                 next.stack_size_);
#endif
#ifdef MESHPARITY_TSAN
  __tsan_switch_to_fiber(next.sanitizer_fiber_, 0);
#endif
}

/// Immediately after a switch to this fiber.
[[gnu::always_inline]] inline void Fiber::arrive() {
#ifdef MESHPARITY_ASAN
  // Says where the stack of the fiber is that was left; a caller's stack is known from nothing
  // else.
  Fiber& from = *last_switch.from;
  __sanitizer_finish_switch_fiber(fake_stack_, &from.stack_bottom_, &from.stack_size_);
#endif
}

}  // namespace meshparity
