#include "golden/check/golden_cases.h"

#include <algorithm>
#include <iterator>

#include "model/model.h"
#include "model/numerics/canonical_sum.h"

namespace meshparity {
namespace {

struct Way {
  const char* mesh = "";
  std::size_t microbatches = 1;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  std::optional<Strategy> strategy = std::nullopt;  // none: the one of the mesh
};

constexpr ScheduleKind kGpipe = ScheduleKind::gpipe;
constexpr ScheduleKind k1f1b = ScheduleKind::one_f_one_b;

constexpr Way kSimulated[] = {
    {"", 3, k1f1b},
    {"dp=2", 1, k1f1b},
    {"dp=3", 2, k1f1b},
    {"dp=5", 1, k1f1b, Strategy::mesh},
    {"fsdp=2", 1, k1f1b},
    {"fsdp=3", 2, k1f1b},
    {"fsdp=5", 1, k1f1b, Strategy::mesh},
    {"tp=2", 1, k1f1b},
    {"tp=3", 2, k1f1b},
    {"tp=12", 1, k1f1b, Strategy::mesh},
    {"pp=2", 4, kGpipe},
    {"pp=3", 4, k1f1b},
    {"pp=3", 2, kGpipe, Strategy::mesh},
    {"pp=12", 4, k1f1b},
    {"dp=2,fsdp=2", 1, k1f1b},
    {"dp=2,tp=2", 2, k1f1b},
    {"dp=2,pp=2", 3, kGpipe},
    {"fsdp=2,tp=2", 1, k1f1b},
    {"fsdp=2,pp=2", 3, k1f1b},
    {"tp=2,pp=2", 3, kGpipe},
    {"dp=2,fsdp=2,tp=2", 2, k1f1b},
    {"dp=2,fsdp=2,pp=2", 2, k1f1b},
    {"dp=2,tp=2,pp=3", 2, k1f1b},
    {"fsdp=2,tp=2,pp=2", 4, kGpipe},
    {"dp=2,fsdp=2,tp=2,pp=2", 2, k1f1b},
};

/// mpirun jobs take long to start, so they are dealt out: recipe r gets jobs r, r + 4, r + 8 and
/// r + 12.
constexpr Way kMpi[] = {
    {"pp=2", 4, kGpipe},
    {"dp=2", 1, k1f1b},
    {"fsdp=2", 1, k1f1b},
    {"tp=2", 1, k1f1b},
    {"pp=5", 4, k1f1b},
    {"fsdp=3", 2, k1f1b},
    {"tp=3", 1, k1f1b},
    {"dp=3", 2, k1f1b},
    {"fsdp=2,pp=2", 3, k1f1b},
    {"dp=2,tp=2", 2, k1f1b},
    {"dp=2,fsdp=2", 1, k1f1b},
    {"fsdp=2,tp=2,pp=2", 2, kGpipe},
    {"dp=2,tp=2,pp=3", 2, k1f1b},
    {"dp=2,fsdp=2,tp=2", 1, k1f1b},
    {"fsdp=3,tp=2,pp=2", 2, k1f1b},
    {"dp=2,tp=2,pp=2", 2, k1f1b},
};
constexpr std::size_t kMpiJobsPerRecipe = 4;

constexpr std::size_t kPrefixSteps = 30;

GoldenCase make_case(const Way& way, const std::string& transport, const GoldenRecipe& golden,
                     std::size_t steps) {
  const Recipe& recipe = golden.recipe;
  GoldenCase made{transport, way.strategy, {}, steps};
  made.how.mesh = parse_mesh(way.mesh);
  std::size_t& stages = made.how.mesh[Axis::pp];
  stages = std::min(stages, model_of(recipe, golden.corpus.vocabulary()).blocks.size());
  made.how.microbatches = std::min(way.microbatches, leaf_count(recipe.batch, recipe.batch_grain));
  made.how.schedule = way.schedule;
  if (!made.strategy) made.strategy = strategy_for(made.how.mesh);
  return made;
}

/// Adds a case unless it is there: two cases may have been cut down to the same one.
void add(std::vector<GoldenCase>& cases, const GoldenCase& made) {
  if (std::find(cases.begin(), cases.end(), made) == cases.end()) cases.push_back(made);
}

}  // namespace

std::vector<GoldenCase> golden_cases(const GoldenRecipe& golden, bool with_sim, bool with_mpi) {
  // A prefix ends where the golden has a digest to compare its last parameters with.
  const std::size_t every = golden_interval(golden.recipe.steps);
  const std::size_t prefix =
      std::min(golden.recipe.steps, (kPrefixSteps + every - 1) / every * every);
  std::vector<GoldenCase> cases = {{"none", std::nullopt, {}, golden.recipe.steps}};
  if (with_sim) {
    for (const Way& way : kSimulated) add(cases, make_case(way, "sim", golden, prefix));
  }
  if (with_mpi) {
    for (std::size_t i = 0; i < kMpiJobsPerRecipe; ++i) {
      const Way& way = kMpi[(golden.number + i * kMpiJobsPerRecipe) % std::size(kMpi)];
      add(cases, make_case(way, "mpi", golden, prefix));
    }
  }
  return cases;
}

}  // namespace meshparity
