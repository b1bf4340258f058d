#include "property_tests/proof/comparison.h"

#include <bit>
#include <cstdint>
#include <vector>

namespace meshparity {
namespace {

std::size_t elements_of(const StepView& view) {
  std::size_t elements = 0;
  for (const std::span<const ShardView> views : {view.shards, view.copies}) {
    for (const ShardView& shard : views) elements += shard.values.size();
  }
  return elements;
}

}  // namespace

bool same_divergence(std::string a, std::string b) {
  for (std::string* text : {&a, &b}) {
    if (const std::size_t at = text->find("-nan"); at != std::string::npos) text->erase(at, 1);
  }
  return a == b;
}

void Comparison::step(const StepView& view) {
  ++steps_;
  shown_ = elements_of(view);
  if (found_ || view.step >= expected_.steps.size()) return;
  const Recording::Step& expected = expected_.steps[view.step];
  // Cause before effect: what the step started from, then the gradient, before the optimizer.
  compare_values(view, expected.values);
  for (const ShardView& shard : view.shards) {
    compare(view.step, Kind::gradient, shard, expected.gradients, shard.gradient);
  }
  note(view.step, Kind::loss,
       first_difference(view.step, scalar_spec("loss"), Exact({&expected.loss, 1}),
                        {&view.loss, 1}));
  if (found_) return;
  if (std::bit_cast<std::uint64_t>(view.gradient_norm) !=
          std::bit_cast<std::uint64_t>(expected.gradient_norm) ||
      view.digest != expected.digest) {
    found_ = {view.step, Kind::statistics,
              "step " + std::to_string(view.step) + ", rank " + std::to_string(rank_) +
                  ": every shard of this rank agrees, but gradient norm or digest do not: the "
                  "counted shards do not cover each element once"};
  }
}

void Comparison::finished(const StepView& view) {
  ++ends_;
  compare_values(view, expected_.final_values);
  if (const std::size_t shown = elements_of(view); shown != shown_) {
    note_missing(view.step, "showed " + std::to_string(shown) + " parameters at the end, but " +
                                std::to_string(shown_) + " in its last step");
  }
}

std::optional<Difference> Comparison::result() {
  if (!same_divergence(divergence_, expected_.divergence)) {
    note_missing(steps_,
                 "ended with '" + divergence_ + "', one rank with '" + expected_.divergence + "'");
  }
  if (steps_ != expected_.steps.size()) {
    note_missing(steps_, "reported " + std::to_string(steps_) + " steps of " +
                             std::to_string(expected_.steps.size()));
  }
  const std::size_t ends = expected_.divergence.empty() ? 1 : 0;
  if (ends_ != ends) {
    note_missing(steps_, "reported " + std::to_string(ends_) + " ends of training, not " +
                             std::to_string(ends));
  }
  return found_;
}

void Comparison::compare_values(const StepView& view, const FloatTensors& expected) {
  for (const std::span<const ShardView> views : {view.shards, view.copies}) {
    for (const ShardView& shard : views) {
      compare(view.step, Kind::parameter, shard, expected, shard.values);
    }
  }
}

void Comparison::compare(std::size_t step, Kind kind, const ShardView& view,
                         const FloatTensors& expected, std::span<const float> actual) {
  if (found_) return;
  const Exact exact(expected.at(view.shard->spec.name));
  if (!first_difference(step, *view.shard, rank_, exact, actual)) return;
  Shard named = *view.shard;
  named.spec.name = (kind == Kind::parameter ? "param/" : "grad/") + named.spec.name;
  note(step, kind, first_difference(step, named, rank_, exact, actual));
}

void Comparison::note(std::size_t step, Kind kind,
                      const std::optional<FirstDifference>& difference) {
  if (!found_ && difference) found_ = {step, kind, difference->text};
}

void Comparison::note_missing(std::size_t step, const std::string& what) {
  if (!found_) found_ = {step, Kind::missing, "rank " + std::to_string(rank_) + " " + what};
}

std::optional<std::size_t> first_to_differ(Comm& group, const std::optional<Difference>& mine) {
  // Everyone learns everyone's (step, kind), 0 for no difference.
  std::vector<std::uint64_t> seen(group.size(), 0);
  if (mine) seen[group.rank()] = 1 + 8 * mine->step + static_cast<std::uint64_t>(mine->kind);
  group.all_reduce_integers(seen);
  std::optional<std::size_t> first;
  for (std::size_t rank = 0; rank < seen.size(); ++rank) {
    if (seen[rank] != 0 && (!first || seen[rank] < seen[*first])) first = rank;
  }
  return first;
}

}  // namespace meshparity
