#include "property_tests/proof/resume_properties.h"

#include <rapidcheck.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "property_tests/proof/holds.h"
#include "property_tests/proof/parity_generator.h"
#include "property_tests/proof/resume_check.h"

namespace meshparity {
namespace {

void count(ResumeTally& tally, const ResumeCase& c, bool equal) {
  ++tally.cases;
  tally.equal += equal ? 1 : 0;
  ++tally.of_legs[std::min(c.legs.size(), tally.of_legs.size()) - 1];
  tally.adamw += c.recipe().optimizer == OptimizerKind::adamw ? 1 : 0;
  tally.gpt2 += c.recipe().model == ModelKind::gpt2 ? 1 : 0;
  tally.dropout += c.recipe().model == ModelKind::gpt2 && c.recipe().dropout > 0 ? 1 : 0;
  std::size_t begin = 0;
  for (const ResumeCase::Leg& leg : c.legs) {
    const bool saves = leg.stop > begin || &leg == &c.legs.front();
    tally.without_steps += leg.stop == begin ? 1 : 0;
    begin = leg.stop;
    if (!saves) continue;
    if (leg.layout == CheckpointLayout::gathered) {
      ++tally.saved_gathered;
    } else {
      ++tally.saved_sharded;
      tally.most_pieces = std::max(tally.most_pieces, leg.how.how.mesh.size());
    }
  }
}

}  // namespace

std::string failure_text(const ResumeCase& c, const std::string& difference) {
  return "smallest mesh: " + meshes_text(c) + "\nfirst difference: " + difference +
         "\nrerun: build/bin/meshparity-verify --resume-case '" + to_line(c) + "'";
}

bool holds_resumed(const Sample& sample, ResumeTally& tally) {
  bool failed = false;  // from then on RapidCheck shrinks
  const bool equal =
      holds("a run that stops and goes on gives the bits of one that did not", sample, [&] {
        const std::vector<ResumeCase> cases = *resume_cases(kSimulatedRanks, kRunsOfARecipe);
        const Question question(cases.front().legs.front().how);
        for (const ResumeCase& c : cases) {
          const auto difference = difference_resumed(c, question);
          if (!failed) count(tally, c, !difference);
          if (!difference) continue;
          failed = true;
          RC_FAIL(failure_text(c, *difference));
        }
        const std::size_t seen = question.expected.steps.size();
        if (!failed && question.expected.divergence.empty() && seen > 1) {
          count_state_flaws(question, seen - 1, tally.flaws);
        }
      });
  return equal && flaws_are_seen(tally.flaws);
}

nlohmann::ordered_json ResumeTally::to_json() const {
  nlohmann::ordered_json json = {{"cases", cases},
                                 {"bit_equal", equal},
                                 {"legs", of_legs},
                                 {"saved_gathered", saved_gathered},
                                 {"saved_sharded", saved_sharded},
                                 {"most_pieces", most_pieces},
                                 {"legs_without_steps", without_steps},
                                 {"adamw", adamw},
                                 {"dropout", dropout},
                                 {"gpt2", gpt2},
                                 {"flaws", nlohmann::json::array()}};
  for (std::size_t f = 0; f < flaws.size(); ++f) {
    json["flaws"].push_back(
        {{"what", kStateFlaws[f]}, {"tried", flaws[f].tried}, {"seen", flaws[f].seen}});
  }
  return json;
}

std::string ResumeTally::text() const {
  std::ostringstream text;
  text << "  " << equal << " of " << cases << " runs that stopped and went on are equal: ";
  for (std::size_t i = 0; i < of_legs.size(); ++i) {
    text << of_legs[i] << " of " << i + 1 << (i == 0 ? " leg, " : " legs, ");
  }
  text << without_steps << " legs without a step;\n  " << adamw << " with adamw, " << gpt2
       << " of gpt2, " << dropout << " with dropout; " << saved_gathered << " gathered and "
       << saved_sharded << " sharded checkpoints of up to " << most_pieces
       << " ranks\nwhat is wrong with the state that a run goes on from, where it was seen:\n"
       << flaws_text(flaws);
  return text.str();
}

}  // namespace meshparity
