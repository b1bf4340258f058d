// Meshes and reductions under Open MPI: started by mpirun. Rank 0 prints a line of JSON for each
// ratio on stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <exception>
#include <stdexcept>
#include <string>

#include "ci/benchmarks/on_ranks.h"
#include "golden/launch.h"
#include "golden/program.h"
#include "model/error.h"

namespace {

constexpr const char* kUsage = "bench-ranks collectives | scaling CORPUS | reductions CORPUS MESH";

void measure(const std::vector<std::string>& arguments, meshparity::Comm& world) {
  using namespace meshparity::bench;
  const std::string part = arguments.empty() ? "" : arguments[0];
  if (part == "collectives" && arguments.size() == 1) {
    measure_collectives(world);
  } else if (part == "scaling" && arguments.size() == 2) {
    measure_scaling(arguments[1], world);
  } else if (part == "reductions" && arguments.size() == 3) {
    measure_reductions(arguments[1], arguments[2], world);
  } else {
    throw meshparity::UsageError("not a measurement", kUsage);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace meshparity;
  return run_program([&] {
    Launch launch;
    if (launch.world() == nullptr) throw EnvironmentError("bench-ranks is started by mpirun");
    try {
      measure(arguments_of(argc, argv), *launch.world());
    } catch (...) {
      launch.abort(std::current_exception());
    }
    return static_cast<int>(kSuccess);
  });
}
