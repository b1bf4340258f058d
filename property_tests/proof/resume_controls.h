#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "property_tests/proof/parity_check.h"

namespace meshparity {

/// What could be wrong with the state that a run goes on from. Each must be seen.
enum class StateFlaw {
  none,
  first_moments_lost,
  second_moments_lost,
  correction_at_0,         ///< the step, in the correction of the moments' bias
  batch_at_0,              ///< the step, in which samples come next
  schedule_at_0,           ///< the step, in the learning rate
  dropout_at_0,            ///< the step, in what is dropped
  shards_exchanged,        ///< the elements of a parameter's first and last share
  tensors_exchanged,       ///< two parameters of one shape
  shards_in_lexical_order  ///< of 11 shares: 0, 1, 10, 2, ...
};
inline constexpr std::array<const char*, 10> kStateFlaws = {
    "nothing (must be equal)",   "first moments lost",   "second moments lost",
    "bias correction at step 0", "batch at step 0",      "schedule at step 0",
    "dropout at step 0",         "two shards exchanged", "two tensors of one shape exchanged",
    "shards in lexical order"};

/// For each flaw: tried where it changes anything, and seen in the next step's loss or state.
struct StateFlawCount {
  std::size_t tried = 0;
  std::size_t seen = 0;
};
using StateFlawCounts = std::array<StateFlawCount, kStateFlaws.size()>;

/// Goes on after `step` steps of one rank's run, for a step, with each flaw that means something
/// there, and counts.
void count_state_flaws(const Question& question, std::size_t step, StateFlawCounts& counts);

/// True if nothing wrong is always equal, and every flaw that was tried was seen.
bool flaws_are_seen(const StateFlawCounts& counts);
/// How often the flaw that was tried least was tried.
std::size_t fewest_tried(const StateFlawCounts& counts);
/// One line each.
std::string flaws_text(const StateFlawCounts& counts);

}  // namespace meshparity
