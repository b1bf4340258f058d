// Traces: exact text, round trips, damage, and the first difference between two.
#include "golden/files/trace_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>

#include "golden/files/sha256.h"
#include "model/error.h"
#include "property_tests/random_values.h"
#include "property_tests/says.h"

namespace meshparity {
namespace {

const std::string kHash(64, 'a');

/// A trace of `steps` steps that records every `every`-th.
Trace made_trace(std::size_t steps, std::size_t every) {
  Recipe recipe;
  recipe.data = "corpus/names.txt";
  recipe.steps = steps;
  Trace trace{header_of(recipe, kHash), {}, {steps, 7 * steps}};
  trace.header.every = every;
  for (std::size_t s = 0; s < steps; ++s) {
    if (!is_recorded(s, every, steps)) continue;
    trace.steps.push_back({s, 3.0F - 0.001F * static_cast<float>(s), 0.5, 7 * s});
  }
  return trace;
}

Trace random_trace() {
  Trace trace = made_trace(*random::from_to(0, 30), *random::from_to(1, 12));
  for (TraceStep& step : trace.steps) {
    step.loss = *random::finite_float();
    step.gradient_norm = std::abs(static_cast<double>(*random::finite_float())) / 3;
    step.digest = *random::any_seed();
  }
  trace.end.digest = *random::any_seed();
  trace.header.native = *rc::gen::arbitrary<bool>();
  trace.header.recipe.lr = std::abs(*random::finite_float());
  trace.header.recipe.seed = *random::any_seed();
  if (*rc::gen::arbitrary<bool>()) {
    trace.header.compiler = "gcc 12";
    trace.header.date = "2026-01-01";
    trace.header.reason = "because of \"é\"";
  }
  return trace;
}

std::string trace_refusal(const std::string& text) {
  try {
    parse_trace(text, "a.trace");
  } catch (const UsageError& e) {
    EXPECT_TRUE(says(e.what(), "a.trace:")) << e.what();
    EXPECT_FALSE(e.hint().empty());
    return e.what();
  }
  return "";
}

std::string difference(const Trace& left, const Trace& right) {
  const auto found = compare_traces(left, right);
  return found ? to_string(*found) : "";
}

TEST(TraceFile, HasThisText) {
  Trace trace = made_trace(1, 1);
  trace.steps[0] = {0, 3.2578125F, 0.375, 0x0123456789abcdef};
  trace.end = {1, 255};
  EXPECT_EQ(
      text_of(trace),
      R"({"meshparity_trace":1,"contract":1,"recipe":{"data":"names.txt","context":16,"embedding":16,)"
      R"("hidden":64,"layers":1,"batch":32,"lr":0.1,"steps":1,"seed":42,"init-scale":1,)"
      R"("batch-grain":8,"feature-grain":16,"vocab-grain":32},"corpus_sha256":")" +
          kHash + "\"}\n" +
          R"({"step":0,"loss":"0x1.a1p+1","loss_decimal":3.25781,"grad_norm":"0x1.8p-2",)"
          R"("digest":"0123456789abcdef"})"
          "\n"
          R"({"end":1,"digest":"00000000000000ff"})"
          "\n");
}

RC_GTEST_PROP(TraceFile, TextReadsBackAsTheSameTrace, ()) {
  const Trace trace = random_trace();
  const std::string text = text_of(trace);
  const Trace read = parse_trace(text, "t");
  RC_ASSERT(text_of(read) == text);
  RC_ASSERT(read.steps == trace.steps);
  RC_ASSERT(read.end == trace.end);
  RC_ASSERT(read.header.recipe == trace.header.recipe);
  RC_ASSERT(!compare_traces(trace, read));
}

RC_GTEST_PROP(TraceFile, EveryTruncationIsRefused, ()) {
  const std::string text = text_of(random_trace());
  RC_ASSERT(!trace_refusal(text.substr(0, *random::from_to(0, text.size() - 1))).empty());
}

RC_GTEST_PROP(TraceFile, AMissingOrRepeatedLineIsRefused, ()) {
  const std::string text = text_of(random_trace());
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin) + 1;
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  const std::size_t at = *random::from_to(0, lines.size() - 1);
  if (*rc::gen::arbitrary<bool>()) {
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
  } else {
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), lines[at]);
  }
  std::string damaged;
  for (const std::string& line : lines) damaged += line;
  RC_ASSERT(!trace_refusal(damaged).empty());
}

RC_GTEST_PROP(TraceFile, AChangedByteIsRefusedOrReadAsWritten, ()) {
  const std::string text = text_of(random_trace());
  for (int attempt = 0; attempt < 20; ++attempt) {
    std::string changed = text;
    changed[*random::from_to(0, text.size() - 1)] = static_cast<char>(*random::from_to(0, 255));
    try {
      const Trace read = parse_trace(changed, "t");
      RC_ASSERT(text_of(parse_trace(text_of(read), "t")) == text_of(read));
    } catch (const UsageError&) {
    }
  }
}

/// The trace's text with the first `from` replaced.
std::string replaced(const std::string& from, const std::string& to) {
  Trace trace = made_trace(3, 1);
  trace.header.reason = "r";
  std::string text = text_of(trace);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(TraceFile, EveryDamageIsNamedWithItsLine) {
  ASSERT_EQ(trace_refusal(replaced("\"r\"", "\"s\"")), "");
  struct Damage {
    std::string text;
    const char* complaint;
  };
  const Damage damages[] = {
      {"", "a.trace:1: the trace is cut off"},
      {"emma\n", "a.trace:1: it is not JSON"},
      {"[]\n", "a.trace:1: it is not a JSON object"},
      {"{}\n", "a.trace:1: 'meshparity_trace' is missing"},
      {replaced(R"(meshparity_trace":1)", R"(meshparity_trace":2)"), "version 2"},
      {replaced(R"("contract":1)", R"("contract":-1)"), "'contract' is not a whole number"},
      {replaced(R"("contract":1,)", ""), "'contract' is missing"},
      {replaced(R"("contract":1)", R"("contract":1,"contract":1)"), "'contract' is repeated"},
      {replaced(R"("reason")", R"("cause")"), "unknown key 'cause'"},
      {replaced(R"("reason":"r")", R"("every":0)"), "'every' is 0"},
      {replaced(R"("reason":"r")", R"("reduction":"x")"), "unknown reduction 'x'"},
      {replaced(kHash, "aa"), "corpus_sha256 'aa'"},
      {replaced(R"("hidden":64,)", ""), "recipe.hidden is missing"},
      {replaced(R"("hidden":64,)", R"("hidden":"64",)"), "recipe.hidden has the wrong type"},
      {replaced(R"("hidden":64,)", R"("hidden":-64,)"), "'-64' is negative"},
      {replaced(R"("hidden":64,)", R"("hidden":6.5,)"), "'6.5' is not a whole number"},
      {replaced(R"("hidden":64,)", R"("hidden":64,"x":1,)"), "unknown key 'x'"},
      {replaced(R"("loss":"0x1.8p+1")", R"("loss":3)"), "a.trace:2: 'loss' is not a string"},
      {replaced(R"("loss":"0x1.8p+1")", R"("loss":"0x1.80p+1")"), "'0x1.80p+1'"},
      {replaced(R"("loss":"0x1.8p+1")", R"("loss":"0x1.80000001p+1")"), "not a binary32"},
      {replaced(R"("loss":"0x1.8p+1")", R"("loss":"nan")"), "'nan'"},
      {replaced(R"("loss_decimal":3.0)", R"("loss_decimal":3.1)"), "loss_decimal is not 3"},
      {replaced("0000000000000007", "000000000000007"), "a.trace:3: digest '000000000000007'"},
      {replaced("0000000000000007", "000000000000000A"), "digest"},
      {replaced(R"("step":1)", R"("step":2)"), "step 2 stands where step 1 should be"},
      {replaced(R"("end":3)", R"("end":2)"), "a.trace:5: it ends after 2 steps, the recipe has 3"},
      {replaced(R"("steps":3)", R"("steps":2)"), "step 2 is beyond"},
      {replaced(R"("steps":3)", R"("steps":4)"), "ends where step 3 should be"},
      {replaced(R"("end":3,)", R"("end":3,"stopped":true,)"), "it stopped after 3 steps"},
      {replaced(R"("end":3,)", R"("end":3,"stopped":false,)"), "'stopped' is not true"},
      {text_of(made_trace(2, 1)) + "{}\n", "a.trace:5: text follows"},
  };
  for (const Damage& damage : damages) {
    EXPECT_TRUE(says(trace_refusal(damage.text), damage.complaint))
        << damage.complaint << " / " << trace_refusal(damage.text);
  }
}

TEST(TraceFile, TheFirstDifferenceIsNamed) {
  const Trace trace = made_trace(9, 1);
  EXPECT_EQ(difference(trace, trace), "");
  const auto changed = [&](auto change) {
    Trace other = trace;
    change(other);
    return difference(trace, other);
  };
  EXPECT_EQ(changed([](Trace& t) { t.header.contract = 2; }), "header, contract: 1 against 2");
  EXPECT_EQ(changed([](Trace& t) { t.header.recipe.lr = 0.2; }),
            "header, recipe.lr: 0.1 against 0.2");
  EXPECT_EQ(changed([](Trace& t) { t.header.native = true; }),
            "header, reduction: canonical against native");
  EXPECT_TRUE(says(changed([](Trace& t) { t.header.corpus_sha256[0] = 'b'; }), "corpus_sha256"));
  EXPECT_EQ(changed([](Trace& t) { t.header.reason = t.header.date = t.header.compiler = "x"; }),
            "")
      << "who recorded a trace is not compared";
  EXPECT_EQ(changed([](Trace& t) { t.steps[4].loss = std::nextafter(t.steps[4].loss, 9.0F); }),
            "step 4, loss: 0x1.7f7ceep+1 (2.99600005) against 0x1.7f7cfp+1 (2.99600029), 1 ULP "
            "apart");
  EXPECT_EQ(changed([](Trace& t) { t.steps[4].loss = 1; }),
            "step 4, loss: 0x1.7f7ceep+1 (2.99600005) against 0x1p+0 (1), 12566135 ULP apart");
  EXPECT_EQ(changed([](Trace& t) { t.steps[8].gradient_norm = 0.25; }),
            "step 8, grad_norm: 0x1p-1 (0.5) against 0x1p-2 (0.25)");
  EXPECT_EQ(changed([](Trace& t) { t.steps[8].gradient_norm = 1; }),
            "step 8, grad_norm: 0x1p-1 (0.5) against 0x1p+0 (1)");
  EXPECT_EQ(changed([](Trace& t) { t.steps[5].digest = t.steps[7].digest = 1; }),
            "step 5, digest: 0000000000000023 against 0000000000000001");
  EXPECT_EQ(changed([](Trace& t) { t.end.digest = 1; }),
            "end, digest: 000000000000003f against 0000000000000001");
}

TEST(TraceFile, TracesOfOtherIntervalsShareSteps) {
  EXPECT_EQ(difference(made_trace(20, 1), made_trace(20, 6)), "");
  Trace other = made_trace(20, 6);
  other.steps[2].digest = 0;
  EXPECT_TRUE(says(difference(made_trace(20, 1), other), "step 12, digest"));
  EXPECT_EQ(made_trace(20, 6).steps.back().step, 19U) << "the last step is always recorded";
}

TEST(TraceFile, APrefixIsHeldToTheWhole) {
  const Trace whole = made_trace(20, 5);
  const auto prefix_difference = [&](const Trace& part) {
    const auto found = compare_prefix(whole, part);
    return found ? to_string(*found) : "";
  };
  EXPECT_EQ(prefix_difference(whole), "");
  EXPECT_EQ(prefix_difference(made_trace(10, 1)), "");
  Trace part = made_trace(10, 1);
  part.steps[5].digest = 0;
  EXPECT_TRUE(says(prefix_difference(part), "step 5, digest"));
  part = made_trace(10, 1);
  part.end.digest = 0;  // its last parameters are those before step 10
  EXPECT_TRUE(says(prefix_difference(part), "step 10, digest"));
  part = made_trace(10, 1);
  part.header.recipe.hidden = 1;
  EXPECT_TRUE(says(prefix_difference(part), "recipe.hidden"));
  part = made_trace(7, 1);
  part.end.digest = 0;  // nothing of the whole says what it should be there
  EXPECT_EQ(prefix_difference(part), "");
  part = whole;
  part.end.digest = 0;
  EXPECT_TRUE(says(prefix_difference(part), "end, digest"));
}

TEST(TraceFile, TracesOfOneRunJoin) {
  const Trace whole = made_trace(9, 1);
  Trace first = whole;
  first.steps.resize(4);
  first.end = {4, whole.steps[4].digest, true};
  Trace second = whole;
  second.header.continues = {4, whole.steps[4].digest};
  second.steps.erase(second.steps.begin(), second.steps.begin() + 4);
  second = parse_trace(text_of(second), "b.trace");
  EXPECT_EQ(second.header.first_step(), 4U);
  EXPECT_EQ(difference(whole, joined(std::vector{first, second})), "");
  EXPECT_EQ(difference(whole, second), "header, first step: 0 against 4");

  const auto seam = [&](auto change) {
    Trace changed = second;
    change(changed);
    try {
      joined(std::vector{first, changed});
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string("joined");
  };
  EXPECT_TRUE(says(seam([](Trace& t) { t.header.continues->step = 5; }), "goes on from 5"));
  EXPECT_TRUE(
      says(seam([](Trace& t) { t.header.continues->digest = 1; }), "goes on from 00000000"));
  EXPECT_TRUE(says(seam([](Trace& t) { t.header.continues.reset(); }), "begins at step 0"));
  EXPECT_TRUE(says(seam([](Trace& t) { t.header.recipe.lr = 7; }), "recipe.lr"));
  EXPECT_TRUE(says(seam([](Trace& t) { t.header.corpus_sha256[0] = 'b'; }), "corpus_sha256"));
  EXPECT_TRUE(says(trace_refusal(replaced(R"("reason":"r")", R"("loaded":false)")),
                   "'loaded' is not true"));
  EXPECT_TRUE(
      says(trace_refusal(replaced(R"("reason":"r")", R"("continues":{"step":1})")), "'digest'"));
}

TEST(TraceFile, Sha256IsThatOfTheStandard) {
  // FIPS 180-4's examples, from NIST's Cryptographic Standards and Guidelines.
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(
      sha256("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopq"
             "klmnopqrlmnopqrsmnopqrstnopqrstu"),
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  EXPECT_EQ(sha256(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace meshparity
