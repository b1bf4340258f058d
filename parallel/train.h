#pragma once

#include <cstddef>
#include <string_view>

#include "model/training.h"
#include "parallel/transport/comm.h"
#include "parallel/mesh.h"
#include "parallel/schedule.h"

namespace meshparity {

/// canonical: every sum in the recipe's own order, the same bits on every mesh. native: the
/// transport's own float reductions, whose order is unknown.
enum class Reduction { canonical, native };

/// How a recipe is trained: nothing here changes a bit (with canonical reduction).
struct Parallelism {
  Mesh mesh;
  std::size_t microbatches = 1;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  Reduction reduction = Reduction::canonical;
};

/// Throws UsageError if the recipe cannot be trained this way: more stages than layers, more
/// microbatches than the batch has leaves.
void validate(const Parallelism& how, const Recipe& recipe, std::size_t vocabulary);

// Each strategy spelled out, one file each. Collective over `world`, which must have the mesh's
// size; all but train_mesh expect a mesh with that one axis (microbatches go with every strategy).

/// Data parallel: the model on every rank, the batch shared out.
void train_dp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Fully sharded data parallel (ZeRO-3): parameters and gradients sharded, gathered layer by layer.
void train_fsdp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Tensor parallel: pairs of layers cut by columns, then by rows.
void train_tp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// Pipeline parallel: each rank a run of layers, microbatches passing through.
void train_pp(const TrainingRun& run, const Parallelism& how, Comm& world);
/// The product of all four.
void train_mesh(const TrainingRun& run, const Parallelism& how, Comm& world);

/// The spelled-out trainer of a one-axis mesh, train_mesh for a product, train_single's twin
/// train_mesh for one rank.
using Trainer = void (*)(const TrainingRun&, const Parallelism&, Comm&);
struct NamedTrainer {
  std::string_view name;
  Trainer train;
};
NamedTrainer trainer_for(const Mesh& mesh);
/// By name ("train_dp", ...). Throws UsageError if unknown or if the mesh has axes it does not run.
NamedTrainer trainer_named(std::string_view name, const Mesh& mesh);

}  // namespace meshparity
