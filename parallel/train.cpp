#include "parallel/train.h"

#include <array>
#include <string>

#include "model/numerics/canonical_sum.h"
#include "model/error.h"
#include "model/model.h"

namespace meshparity {
namespace {

struct Strategy {
  NamedTrainer trainer;
  std::size_t Mesh::*axis = nullptr;
};
constexpr std::array<Strategy, 4> kStrategies = {
    Strategy{{"train_dp", train_dp}, &Mesh::dp}, Strategy{{"train_fsdp", train_fsdp}, &Mesh::fsdp},
    Strategy{{"train_tp", train_tp}, &Mesh::tp}, Strategy{{"train_pp", train_pp}, &Mesh::pp}};
constexpr NamedTrainer kMesh = {"train_mesh", train_mesh};

}  // namespace

void validate(const Parallelism& how, const Recipe& recipe, std::size_t vocabulary) {
  const std::size_t layers = model_layers(recipe, vocabulary).size();
  if (how.mesh.pp > layers) {
    throw UsageError("pp=" + std::to_string(how.mesh.pp) + " has more stages than the model's " +
                         std::to_string(layers) + " layers (embedding, " +
                         std::to_string(recipe.layers) + " hidden, output)",
                     "use pp=" + std::to_string(layers) + " or less, or more --layers");
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

NamedTrainer trainer_for(const Mesh& mesh) {
  for (const Strategy& strategy : kStrategies) {
    if (mesh.size() > 1 && mesh.*strategy.axis == mesh.size()) return strategy.trainer;
  }
  return kMesh;
}

NamedTrainer trainer_named(std::string_view name, const Mesh& mesh) {
  if (name == kMesh.name) return kMesh;
  for (const Strategy& strategy : kStrategies) {
    if (strategy.trainer.name != name) continue;
    if (mesh.*strategy.axis == mesh.size()) return strategy.trainer;
    throw UsageError(std::string(name) + " does not run mesh " + to_string(mesh),
                     "use --trainer train_mesh");
  }
  throw UsageError("unknown trainer '" + std::string(name) + "'",
                   "use train_dp, train_fsdp, train_tp, train_pp or train_mesh");
}

}  // namespace meshparity
