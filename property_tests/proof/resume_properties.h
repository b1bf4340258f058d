#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "property_tests/proof/parity_properties.h"
#include "property_tests/proof/resume_case.h"
#include "property_tests/proof/resume_controls.h"

namespace meshparity {

/// What a run of the proof has covered.
struct ResumeTally {
  std::size_t cases = 0;
  std::size_t equal = 0;
  std::array<std::size_t, 4> of_legs{};  ///< cases of 1, 2, ... legs
  std::size_t saved_gathered = 0;        ///< checkpoints
  std::size_t saved_sharded = 0;
  std::size_t most_pieces = 0;    ///< of a sharded one
  std::size_t without_steps = 0;  ///< legs
  std::size_t adamw = 0;          ///< cases
  std::size_t dropout = 0;
  std::size_t gpt2 = 0;
  StateFlawCounts flaws{};

  nlohmann::ordered_json to_json() const;
  std::string text() const;
};

/// Runs of each random recipe that `holds_resumed` tries.
inline constexpr std::size_t kRunsOfARecipe = 5;

/// A run that stops and goes on, in simulated worlds and from files, gives the bits of one rank
/// that did not stop; and whatever is wrong with the state that it goes on from is seen. A failure
/// is shrunk and printed. True if both hold.
bool holds_resumed(const Sample& sample, ResumeTally& tally);

std::string failure_text(const ResumeCase& c, const std::string& difference);

}  // namespace meshparity
