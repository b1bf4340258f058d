#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "model/model.h"
#include "model/observer.h"
#include "parallel/mesh.h"
#include "parallel/reducer.h"
#include "parallel/schedule.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// How a recipe is trained: nothing here changes a bit (with canonical reduction).
struct Parallelism {
  Mesh mesh;
  std::size_t microbatches = 1;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  Reduction reduction = Reduction::canonical;
};

/// Throws UsageError if the recipe cannot be trained this way: more stages than blocks, more
/// microbatches than the batch has leaves.
void validate(const Parallelism& how, const Recipe& recipe, const Model& model);

/// Collective over `world`, which must have the mesh's size.
using Trainer = void (*)(const TrainingRun&, const Parallelism&, Comm& world);

// Each strategy spelled out, one file each. Microbatches go with every strategy.

/// Data parallel: the model on every rank, the batch shared out.
void train_dp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Fully sharded data parallel (ZeRO-3): parameters and gradients sharded, gathered block by block.
void train_fsdp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Tensor parallel: features inside blocks shared out.
void train_tp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Pipeline parallel: each rank a range of blocks, microbatches passing through.
void train_pp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// The product of all four.
void train_mesh(const TrainingRun& run, const Parallelism& how, Comm& world);

/// A trainer and the meshes it runs: those that are 1 along every other axis.
enum class Strategy { dp, fsdp, tp, pp, mesh };
struct StrategyEntry {
  Strategy strategy;
  std::string_view name;
  Trainer train;
  AxisSet axes;

  bool runs(const Mesh& mesh) const;
};

/// All there are.
const std::array<StrategyEntry, 5>& strategies();
const StrategyEntry& entry_of(Strategy strategy);

/// The spelled-out trainer of a one-axis mesh; train_mesh for a product and for one rank.
Strategy strategy_for(const Mesh& mesh);
/// By name ("train_dp", ...). Throws UsageError if there is none.
Strategy strategy_named(std::string_view name);
/// Throws UsageError if the mesh has axes that the strategy does not run.
void require_runs(Strategy strategy, const Mesh& mesh);

}  // namespace meshparity
