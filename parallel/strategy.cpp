#include "parallel/strategy.h"

#include <algorithm>
#include <string>

#include "model/batch.h"
#include "model/error.h"

namespace meshparity {
namespace {

AxisSet only(Axis axis) {
  AxisSet axes;
  axes[axis] = true;
  return axes;
}

AxisSet every_axis() {
  AxisSet axes;
  axes.values.fill(true);
  return axes;
}

}  // namespace

const std::array<StrategyEntry, 5>& strategies() {
  static const std::array<StrategyEntry, 5> table = {{
      {Strategy::dp, "train_dp", train_dp, only(Axis::dp)},
      {Strategy::fsdp, "train_fsdp", train_fsdp, only(Axis::fsdp)},
      {Strategy::tp, "train_tp", train_tp, only(Axis::tp)},
      {Strategy::pp, "train_pp", train_pp, only(Axis::pp)},
      {Strategy::mesh, "train_mesh", train_mesh, every_axis()},
  }};
  return table;
}

bool StrategyEntry::runs(const Mesh& mesh) const {
  return std::ranges::all_of(kRankOrder, [&](Axis axis) { return axes[axis] || mesh[axis] == 1; });
}

const StrategyEntry& entry_of(Strategy strategy) {
  return strategies()[static_cast<std::size_t>(strategy)];
}

Strategy strategy_for(const Mesh& mesh) {
  if (mesh.size() == 1) return Strategy::mesh;
  return std::ranges::find_if(strategies(), [&](const auto& entry) { return entry.runs(mesh); })
      ->strategy;
}

Strategy strategy_named(std::string_view name) {
  std::string known;
  for (const StrategyEntry& entry : strategies()) {
    if (entry.name == name) return entry.strategy;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw UsageError("unknown trainer '" + std::string(name) + "'", "use one of " + known);
}

void require_runs(Strategy strategy, const Mesh& mesh) {
  if (entry_of(strategy).runs(mesh)) return;
  throw UsageError(std::string(entry_of(strategy).name) + " does not run mesh " + to_string(mesh),
                   "use --trainer train_mesh");
}

void validate(const Parallelism& how, const Recipe& recipe, const Model& model) {
  const std::size_t blocks = model.blocks.size();
  if (how.mesh[Axis::pp] > blocks) {
    throw UsageError("pp=" + std::to_string(how.mesh[Axis::pp]) +
                         " has more stages than the model's " + std::to_string(blocks) +
                         " blocks (" + model.blocks.front().name + " to " +
                         model.blocks.back().name + ")",
                     "use pp=" + std::to_string(blocks) + " or less, or more --layers");
  }
  const std::size_t leaves = leaf_count(recipe.batch, recipe.batch_grain);
  if (how.microbatches == 0 || how.microbatches > leaves) {
    throw UsageError(
        std::to_string(how.microbatches) + " microbatches do not fit a batch of " +
            std::to_string(leaves) + " leaves (batch " + std::to_string(recipe.batch) +
            ", batch-grain " + std::to_string(recipe.batch_grain) + ")",
        "use --microbatches 1 to " + std::to_string(leaves) + ", or a smaller --batch-grain");
  }
}

}  // namespace meshparity
