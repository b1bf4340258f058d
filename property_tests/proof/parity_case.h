#pragma once

#include <iosfwd>
#include <string>

#include "model/recipe.h"
#include "parallel/strategy.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {

/// One question to the proof: does this recipe, trained this way, give the bits of one rank?
struct ParityCase {
  Strategy strategy = Strategy::mesh;
  Parallelism how;
  Recipe recipe;       ///< `data` is not used
  std::string corpus;  ///< the text itself; any bytes
  SimOptions world;    ///< how a simulated world behaves; `ranks` is the mesh's
};

/// One line of JSON that `meshparity-verify --case` reruns.
std::string to_line(const ParityCase& c);
/// Throws UsageError if the line is not one.
ParityCase parse_case(const std::string& line);
std::ostream& operator<<(std::ostream& out, const ParityCase& c);

}  // namespace meshparity
