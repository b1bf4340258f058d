// The oracle's bounds on a transformer: the literal transcription stays inside, end to end and
// block by block, and planted mistakes do not.

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

#include "property_tests/oracle/gpt2_cases.h"

namespace meshparity {
namespace {

TEST(Gpt2Bound, HoldsForTheLiteralStep) {
  Judgement ratios;
  EXPECT_TRUE(rc::check("a literal step is within the bounds", [&] {
    const StepCase drawn = random_gpt2_case(2);
    const ComputedStep actual = literal_step(drawn, careless_functions());
    const std::string found = outside(drawn, actual, ratios, drawn.step);
    if (!found.empty()) RC_FAIL(found);
  }));
  print("transformers", ratios);
  for (const auto& [name, ratio] : ratios.ratios) std::cout << "  " << name << " " << ratio << '\n';
}

}  // namespace
}  // namespace meshparity
