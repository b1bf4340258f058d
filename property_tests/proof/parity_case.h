#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <iosfwd>
#include <string>

#include "model/recipe.h"
#include "parallel/train.h"

namespace meshparity {

/// One question to the proof: does this recipe, trained this way, give the bits of one rank?
struct ParityCase {
  std::string trainer;  ///< "train_dp", ...
  Parallelism how;
  Recipe recipe;       ///< `data` is not used
  std::string corpus;  ///< the text itself; any bytes
  std::uint64_t scheduler_seed = 0;
};

/// One line of JSON that `meshparity-verify --case` reruns.
std::string to_line(const ParityCase& c);
/// Throws UsageError if the line is not one.
ParityCase parse_case(const std::string& line);
std::ostream& operator<<(std::ostream& out, const ParityCase& c);

/// Random cases of one trainer on up to `max_ranks` ranks, drawn so that shrinking reaches small
/// meshes first, then small recipes.
rc::Gen<ParityCase> parity_cases(const std::string& trainer, Reduction reduction,
                                 std::size_t max_ranks);

}  // namespace meshparity
