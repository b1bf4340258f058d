// Fibers: each has a stack and exceptions of its own, whatever the others do between its switches.
#include "parallel/transport/sim/fiber.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace meshparity {
namespace {

/// Where the caller's frame is, whatever a sanitizer does to its variables.
std::size_t frame_address() { return reinterpret_cast<std::size_t>(__builtin_frame_address(0)); }

/// Fills frames down to `lowest`, switches to `caller` at the bottom, and checks every frame on the
/// way back. Returns how many there were.
std::size_t descend(std::size_t lowest, Fiber& self, Fiber& caller) {
  std::array<std::size_t, 64> frame{};
  volatile std::size_t* values = frame.data();
  const std::size_t here = frame_address();
  for (std::size_t i = 0; i < frame.size(); ++i) values[i] = here + i;
  std::size_t below = 0;
  if (here > lowest) {
    below = descend(lowest, self, caller);
  } else {
    self.switch_to(caller);
  }
  for (std::size_t i = 0; i < frame.size(); ++i) {
    if (values[i] != here + i) throw std::logic_error("a frame has changed");
  }
  return below + 1;
}

/// Endless, as far as a compiler can see.
std::size_t overflow(volatile std::size_t* depth) {
  std::array<std::size_t, 64> frame{};
  volatile std::size_t* values = frame.data();
  values[0] = *depth;
  *depth = *depth + 1;
  return *depth == 0 ? 0 : overflow(depth) + values[0];
}

TEST(Fiber, RunsFromSwitchToSwitch) {
  std::string order;
  Fiber caller;
  std::unique_ptr<Fiber> a;
  std::unique_ptr<Fiber> b;
  a = std::make_unique<Fiber>([&]() -> Fiber& {
    order += 'a';
    a->switch_to(*b);
    order += 'A';
    return *b;
  });
  b = std::make_unique<Fiber>([&]() -> Fiber& {
    order += 'b';
    b->switch_to(*a);
    order += 'B';
    return caller;
  });
  caller.switch_to(*a);
  EXPECT_EQ(order, "abAB");
}

TEST(Fiber, HasADeepStack) {
  constexpr std::size_t kFibers = 3;
  Fiber caller;
  std::array<std::unique_ptr<Fiber>, kFibers> fibers;
  std::array<std::size_t, kFibers> depths{};
  for (std::size_t i = 0; i < kFibers; ++i) {
    fibers[i] = std::make_unique<Fiber>([&, i]() -> Fiber& {
      depths[i] = descend(frame_address() - Fiber::kStackBytes / 4 * 3, *fibers[i], caller);
      return caller;
    });
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& fiber : fibers) caller.switch_to(*fiber);
  }
  for (const std::size_t depth : depths) EXPECT_GT(depth, 100U);
}

TEST(FiberDeathTest, AnOverflowEndsTheProcess) {
  const auto run_over = [] {
    Fiber caller;
    Fiber fiber([&]() -> Fiber& {
      std::size_t depth = 1;
      overflow(&depth);
      return caller;
    });
    caller.switch_to(fiber);
  };
  EXPECT_DEATH(run_over(), "");
}

TEST(Fiber, SwitchesWhileItHandlesAnException) {
  Fiber caller;
  std::unique_ptr<Fiber> a;
  std::unique_ptr<Fiber> b;
  std::string seen;
  // Each throws and, while it handles that, lets the other do the same: without a list of its own,
  // the one would end or throw on what the other has caught.
  const auto body = [&](const char* mine, std::unique_ptr<Fiber>& self,
                        std::unique_ptr<Fiber>& other) {
    EXPECT_EQ(std::current_exception(), nullptr);
    for (int i = 0; i < 3; ++i) {
      try {
        try {
          throw std::runtime_error(mine);
        } catch (const std::runtime_error&) {
          self->switch_to(*other);
          throw;
        }
      } catch (const std::runtime_error& error) {
        seen += error.what();
      }
    }
  };
  a = std::make_unique<Fiber>([&]() -> Fiber& {
    body("a", a, b);
    return *b;
  });
  b = std::make_unique<Fiber>([&]() -> Fiber& {
    body("b", b, a);
    return caller;
  });
  try {
    throw std::runtime_error("caller");
  } catch (const std::runtime_error&) {
    caller.switch_to(*a);
    EXPECT_THROW(throw, std::runtime_error);
  }
  EXPECT_EQ(seen, "ababab");
  EXPECT_EQ(std::current_exception(), nullptr);
}

/// Switches while an exception unwinds its fiber.
class SwitchesInDestructor {
 public:
  SwitchesInDestructor(Fiber& self, Fiber& other) : self_(self), other_(other) {}
  ~SwitchesInDestructor() {
    EXPECT_EQ(std::uncaught_exceptions(), 1);
    self_.switch_to(other_);
    EXPECT_EQ(std::uncaught_exceptions(), 1);
  }
  SwitchesInDestructor(const SwitchesInDestructor&) = delete;
  SwitchesInDestructor& operator=(const SwitchesInDestructor&) = delete;

 private:
  Fiber& self_;
  Fiber& other_;
};

TEST(Fiber, SwitchesWhileItIsUnwound) {
  Fiber caller;
  std::unique_ptr<Fiber> fiber;
  int caught = 0;
  fiber = std::make_unique<Fiber>([&]() -> Fiber& {
    try {
      const SwitchesInDestructor switches(*fiber, caller);
      throw 7;
    } catch (const int value) {
      caught = value;
    }
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    return caller;
  });
  caller.switch_to(*fiber);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  EXPECT_THROW(throw std::runtime_error("caller"), std::runtime_error);
  EXPECT_EQ(caught, 0);
  caller.switch_to(*fiber);
  EXPECT_EQ(caught, 7);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
}

/// Runs `count` fibers, all alive at once, in turns; returns where their stacks were.
std::vector<std::size_t> stacks_of(std::size_t count) {
  constexpr int kTurns = 3;
  Fiber caller;
  std::vector<std::unique_ptr<Fiber>> fibers(count);
  std::vector<std::size_t> stacks(count);
  std::vector<int> turns(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    fibers[i] = std::make_unique<Fiber>([&, i]() -> Fiber& {
      stacks[i] = frame_address();
      while (++turns[i] < kTurns) fibers[i]->switch_to(i + 1 < count ? *fibers[i + 1] : *fibers[0]);
      return i + 1 < count ? *fibers[i + 1] : caller;
    });
  }
  caller.switch_to(*fibers[0]);
  EXPECT_EQ(turns, std::vector<int>(count, kTurns));
  std::sort(stacks.begin(), stacks.end());
  return stacks;
}

TEST(Fiber, ManyAreAliveAtOnce) {
  const std::vector<std::size_t> stacks = stacks_of(500);
  for (std::size_t i = 1; i < stacks.size(); ++i) {
    EXPECT_GT(stacks[i] - stacks[i - 1], Fiber::kStackBytes);  // by the guard page
  }
}

TEST(Fiber, StacksAreUsedAgain) {
  const std::vector<std::size_t> before = stacks_of(40);
  EXPECT_EQ(stacks_of(40), before);
  std::vector<std::size_t> fewer = stacks_of(10);
  EXPECT_TRUE(std::includes(before.begin(), before.end(), fewer.begin(), fewer.end()));
}

TEST(Fiber, MayNeverBeStarted) {
  Fiber caller;
  const Fiber unused([&]() -> Fiber& { return caller; });
}

TEST(Fiber, EveryThreadHasItsOwn) {
  std::array<std::vector<std::size_t>, 2> stacks;
  std::array<std::thread, 2> threads;
  for (std::size_t t = 0; t < threads.size(); ++t) {
    threads[t] = std::thread([&, t] {
      for (int i = 0; i < 20; ++i) stacks[t] = stacks_of(20);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stacks[0].size(), stacks[1].size());
}

}  // namespace
}  // namespace meshparity
