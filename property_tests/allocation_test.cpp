// A training step takes no memory: all of it was taken before the first one. Replaces operator new,
// so it is a program of its own.
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <ostream>
#include <string>
#include <vector>

#include "model/corpus.h"
#include "model/train_single.h"
#include "parallel/comm_sim.h"
#include "parallel/train.h"

namespace {

thread_local std::size_t allocations = 0;  // of all simulated ranks: they are fibers of one thread

void* counted(std::size_t size, std::size_t alignment) noexcept {
  ++allocations;
  const std::size_t blocks = size == 0 ? 1 : (size + alignment - 1) / alignment;
  return std::aligned_alloc(alignment, blocks * alignment);
}

void* counted_or_throw(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) {
  if (void* memory = counted(size, alignment)) return memory;
  throw std::bad_alloc();
}

// Not inlined: GCC would take the pair of operator new and free for a mistake.
[[gnu::noinline]] void release(void* memory) noexcept { std::free(memory); }

std::size_t bytes(std::align_val_t alignment) { return static_cast<std::size_t>(alignment); }

}  // namespace

void* operator new(std::size_t size) { return counted_or_throw(size); }
void* operator new[](std::size_t size) { return counted_or_throw(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, bytes(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted_or_throw(size, bytes(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return counted(size, alignof(std::max_align_t));
}
void* operator new[](std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return counted(size, alignof(std::max_align_t));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t /*alignment*/) noexcept { release(memory); }
void operator delete(void* memory, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete[](void* memory, std::size_t /*size*/,
                       std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept { release(memory); }

namespace meshparity {
namespace {

constexpr std::size_t kSteps = 6;

/// Notes how much the rank had allocated when each step was reported.
class AllocationObserver final : public StepObserver {
 public:
  explicit AllocationObserver(bool with_statistics) : statistics_(with_statistics) {}
  bool wants_statistics() const override { return statistics_; }
  void step(const StepView& view) override { at_step_.at(view.step) = allocations; }

  /// From the report of step 1 to that of the last step; a transport may grow its pools before.
  std::size_t while_training() const { return at_step_.back() - at_step_[1]; }
  std::size_t before_training() const { return at_step_.front(); }

 private:
  bool statistics_;
  std::array<std::size_t, kSteps> at_step_{};
};

Recipe small_recipe() {
  Recipe recipe;
  recipe.context = 3;
  recipe.embedding = 4;
  recipe.hidden = 12;
  recipe.layers = 4;
  recipe.batch = 22;
  recipe.batch_grain = 2;
  recipe.feature_grain = 2;
  recipe.vocab_grain = 3;
  recipe.steps = kSteps;
  return recipe;
}

const Corpus& small_corpus() {
  static const Corpus corpus("anna\nbob\ncleo\n\nda\n", 3);
  return corpus;
}

TEST(Allocation, ASingleRankTakesNoMemoryInAStep) {
  for (const bool statistics : {false, true}) {
    const Recipe recipe = small_recipe();
    const RandomParameters initial(recipe.seed, recipe.init_scale);
    AllocationObserver observer(statistics);
    allocations = 0;
    train_single({recipe, small_corpus(), initial, observer});
    EXPECT_EQ(observer.while_training(), 0U);
    EXPECT_GT(observer.before_training(), 0U);
  }
}

struct Strategy {
  std::string name;
  Trainer train;
  Mesh mesh;
};

/// What ctest shows; by default it would be the bytes.
void PrintTo(const Strategy& strategy, std::ostream* out) { *out << to_string(strategy.mesh); }

class StrategyAllocation : public testing::TestWithParam<Strategy> {};

TEST_P(StrategyAllocation, NoRankTakesMemoryInAStep) {
  const Strategy& strategy = GetParam();
  const Recipe recipe = small_recipe();
  const RandomParameters initial(recipe.seed, recipe.init_scale);
  for (const bool statistics : {false, true}) {
    for (const ScheduleKind schedule : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
      for (const Reduction reduction : {Reduction::canonical, Reduction::native}) {
        const Parallelism how{strategy.mesh, 3, schedule, reduction};
        std::vector<AllocationObserver> observers(strategy.mesh.size(),
                                                  AllocationObserver(statistics));
        run_simulated({.ranks = strategy.mesh.size(), .seed = 1}, [&](Comm& world) {
          strategy.train({recipe, small_corpus(), initial, observers[world.rank()]}, how, world);
        });
        for (std::size_t rank = 0; rank < observers.size(); ++rank) {
          EXPECT_EQ(observers[rank].while_training(), 0U)
              << "rank " << rank << ", " << to_string(schedule)
              << (statistics ? ", statistics" : "")
              << (reduction == Reduction::native ? ", native" : "");
          EXPECT_GT(observers[rank].before_training(), 0U);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    EveryStrategy, StrategyAllocation,
    testing::Values(Strategy{"train_dp", train_dp, {3, 1, 1, 1}},
                    Strategy{"train_fsdp", train_fsdp, {1, 3, 1, 1}},
                    Strategy{"train_tp", train_tp, {1, 1, 3, 1}},
                    Strategy{"train_pp", train_pp, {1, 1, 1, 4}},
                    Strategy{"train_mesh", train_mesh, {2, 2, 2, 3}},
                    Strategy{"train_mesh_on_one_rank", train_mesh, {1, 1, 1, 1}}),
    [](const testing::TestParamInfo<Strategy>& instance) { return instance.param.name; });

}  // namespace
}  // namespace meshparity
