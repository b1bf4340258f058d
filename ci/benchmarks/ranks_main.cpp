// Meshes and reductions under Open MPI: started by mpirun. Rank 0 prints a line of JSON for each
// ratio on stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <exception>
#include <string>
#include <vector>

#include "ci/benchmarks/on_ranks.h"
#include "golden/programs/launch.h"
#include "golden/programs/program.h"
#include "model/error.h"

namespace meshparity::bench {
namespace {

constexpr const char* kUsage =
    "bench-ranks collectives | scaling CORPUS | full-scaling | reductions CORPUS MESH | "
    "transformer-reductions MESH";

void measure(const std::vector<std::string>& arguments, Comm& world) {
  const std::string part = arguments.empty() ? "" : arguments[0];
  if (part == "collectives" && arguments.size() == 1) {
    measure_collectives(world);
  } else if (part == "scaling" && arguments.size() == 2) {
    measure_scaling(arguments[1], world);
  } else if (part == "full-scaling" && arguments.size() == 1) {
    measure_full_scaling(world);
  } else if (part == "transformer-reductions" && arguments.size() == 2) {
    measure_transformer_reductions(arguments[1], world);
  } else if (part == "reductions" && arguments.size() == 3) {
    measure_reductions(arguments[1], arguments[2], world);
  } else {
    throw UsageError("not a measurement", kUsage);
  }
}

int run(const std::vector<std::string>& arguments) {
  Launch launch;
  if (launch.world() == nullptr) throw EnvironmentError("bench-ranks is started by mpirun");
  try {
    measure(arguments, *launch.world());
  } catch (...) {
    launch.abort(std::current_exception());
  }
  return kSuccess;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  return meshparity::run_program(
      [&] { return meshparity::bench::run(meshparity::arguments_of(argc, argv)); });
}
