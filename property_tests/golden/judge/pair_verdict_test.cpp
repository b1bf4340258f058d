// Two recordings of the same steps: what they must have alike, and which of them is off.

#include "golden/judge/pair_verdict.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "golden/judge/verdict_text.h"
#include "property_tests/golden/judge/small_recording.h"

namespace meshparity {
namespace {

TEST(PairVerdict, SaysWhichOfTwoIsOff) {
  const RecordedStep right = small_step();
  PairVerdict both;
  judge_pair(right, right, true, both);
  EXPECT_EQ(outcome_of(both), Outcome::verified);
  EXPECT_TRUE(both.unlike.empty());

  RecordedStep wrong = right;
  for (float& g : wrong.tensors.at("grad/ln_f.bias").values) g *= 2;
  PairVerdict pair;
  judge_pair(right, wrong, true, pair);
  EXPECT_EQ(outcome_of(pair), Outcome::different);
  EXPECT_NE(pair_text(pair, false).find("off: the second"), std::string::npos);
  EXPECT_NE(pair_text(pair, false).find("apart by 1 of the root mean square: step 0, grad/ln_f"),
            std::string::npos);
}

TEST(PairVerdict, OtherBatchesOrParametersAreNoComparison) {
  const RecordedStep right = small_step();
  RecordedStep other = right;
  other.tokens[3] = (other.tokens[3] + 1) % 11;
  PairVerdict batches;
  judge_pair(right, other, true, batches);
  EXPECT_EQ(batches.unlike, std::vector<std::string>{"step 0: batch.tokens are not the same"});
  EXPECT_EQ(outcome_of(batches), Outcome::different);

  other = right;
  other.tensors.at("param/wpe.weight").values[9] = 5;
  PairVerdict begin;
  judge_pair(right, other, true, begin);
  ASSERT_EQ(begin.unlike.size(), 1U);
  EXPECT_EQ(begin.unlike[0].find("step 0: param/wpe.weight[1, 1] is "), 0U);
  PairVerdict later;  // where roundings may have made a difference
  judge_pair(right, other, false, later);
  EXPECT_TRUE(later.unlike.empty());
}

TEST(PairVerdict, OtherShapesAreSaidOnce) {
  PairVerdict pair;
  judge_pair(small_step(), small_step({.weights = WeightLayout::input_output}), true, pair);
  EXPECT_EQ(pair.unlike.at(0), "step 0: their models are not the same");
  EXPECT_EQ(std::ranges::count(pair.unlike,
                               "step 0: param/h.0.attn.c_attn.weight is (24, 8) in the first, "
                               "(8, 24) in the second"),
            1);
  EXPECT_EQ(std::ranges::count(pair.differences, "param/h.0.attn.c_attn.weight",
                               &TensorDifference::tensor),
            0)
      << "they have no difference";
  EXPECT_EQ(outcome_of(pair), Outcome::different) << "though each of them is right";
}

}  // namespace
}  // namespace meshparity
