#include "property_tests/parallel/transport/comm_mpi_memory.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "model/corpus.h"
#include "model/numerics/aligned_floats.h"
#include "parallel/strategy.h"
#include "property_tests/allocations.h"
#include "property_tests/parallel/transport/comm_mpi_calls.h"

namespace meshparity {
namespace {

using Texts = std::vector<std::string>;

/// What operations need is used again; what a group needs goes with it.
Texts check_rounds(Comm& world) {
  Texts texts;
  const std::size_t n = world.size();
  const std::vector<std::size_t> counts(n, 2);
  std::vector<float> mine(2);
  std::vector<float> all(2 * n);
  std::vector<float> more(2 * n);
  std::vector<Request> requests(4 * n);
  std::array<std::uint64_t, 3> integers{};
  const AlignedFloats own(50'000);
  AlignedFloats room(50'000);
  const auto round = [&] {
    for (std::size_t r = 0; r < n; ++r) {
      const std::span<float> place(&all[2 * r], 2);
      const std::span<float> place2(&more[2 * r], 2);
      requests[4 * r] = world.irecv(place, r, 0);
      requests[4 * r + 1] = world.isend(mine, r, 0);
      requests[4 * r + 2] = world.borrow(place2, r, 1);
      requests[4 * r + 3] = world.lend(mine, r, 1);
    }
    for (Request& request : requests) world.wait(request);
    Request borrowed = world.borrow(room, (world.rank() + n - 1) % n, 2);
    Request lent = world.lend(own, (world.rank() + 1) % n, 2);
    (void)world.read(borrowed);
    world.wait(borrowed);
    world.wait(lent);
    world.broadcast(mine, 0);
    world.all_gather(mine, all, counts);
    world.all_to_all(all, counts, more, counts);
    world.barrier();
    world.all_reduce_integers(integers);
    world.all_reduce_maximum(all);
    world.native_all_reduce(all);
    world.native_reduce_scatter(all, mine, counts);
  };
  round();
  const std::size_t after_one_round = allocations();
  for (int i = 0; i < 5; ++i) round();
  if (allocations() != after_one_round) {
    texts.push_back(std::to_string(allocations() - after_one_round) +
                    " allocations in later rounds");
  }
  const CommunicatorCalls before = communicator_calls();
  { const auto pair = world.split("pair", world.rank() / 2, 0); }
  const CommunicatorCalls after = communicator_calls();
  if (after.made == before.made || after.made - before.made != after.freed - before.freed) {
    texts.push_back("a group leaves communicators behind");
  }
  return texts;
}

/// Counts what this rank takes from the report of step 2 to that of the last.
class StepAllocations final : public StepObserver {
 public:
  void step(const StepView& view) override {
    if (view.step == 2) at_begin_ = allocations();
    at_end_ = allocations();
  }
  std::size_t count() const { return at_end_ - at_begin_; }

 private:
  std::size_t at_begin_ = 0;
  std::size_t at_end_ = 0;
};

Texts check_steps(Comm& world) {
  Texts texts;
  Recipe mlp;
  mlp.context = 3;
  mlp.embedding = 4;
  mlp.hidden = 12;
  mlp.layers = world.size();
  mlp.batch = 22;
  mlp.batch_grain = mlp.feature_grain = mlp.vocab_grain = 2;
  Recipe gpt2 = default_recipe(ModelKind::gpt2);
  gpt2.form = DataForm::lines;
  gpt2.layers = std::max<std::size_t>(1, world.size() / 2);
  gpt2.heads = 3;
  gpt2.channels = 12;
  gpt2.positions = 5;
  gpt2.batch = 11;
  gpt2.dropout = 0.2;
  gpt2.clip = 0.01;
  for (Recipe recipe : {mlp, gpt2}) {
    recipe.steps = 6;
    const Corpus corpus = recipe.model == ModelKind::mlp
                              ? Corpus("anna\nbob\ncleo\n", recipe.context)
                              : Corpus::documents("anna\nbob\ncleo\n", 5);
    const Model model = model_of(recipe, corpus.vocabulary());
    const InitialParameters initial(recipe.seed);
    for (const auto& [axis, name] : kAxes) {
      Parallelism how;
      how.mesh[axis] = world.size();
      how.microbatches = 3;
      StepAllocations observer;
      entry_of(strategy_for(how.mesh))
          .train({recipe, model, corpus, initial, observer}, how, world);
      if (observer.count() > 0) {
        texts.push_back(std::to_string(observer.count()) + " allocations in steps of " +
                        std::string(name_of(recipe.model)) + " on " + to_string(how.mesh));
      }
    }
  }
  return texts;
}

}  // namespace

std::vector<std::string> check_memory(Comm& world) {
  Texts texts = check_rounds(world);
  // Training on more ranks than that takes long where cores are few, and shows no more.
  const Texts of_steps = world.size() <= 4 ? check_steps(world) : Texts{};
  texts.insert(texts.end(), of_steps.begin(), of_steps.end());
  return texts;
}

}  // namespace meshparity
