#include "golden/judge/pair_verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/files/safetensors.h"
#include "golden/judge/diagnosis.h"

namespace meshparity {
namespace {

class Comparison {
 public:
  Comparison(const RecordedStep& first, const RecordedStep& second, PairVerdict& pair)
      : first_(first), second_(second), pair_(pair) {}

  void batch() {
    if (first_.model != second_.model) say("their models are not the same");
    if (first_.tokens != second_.tokens) say("batch.tokens are not the same");
    if (first_.targets != second_.targets) say("batch.targets are not the same");
  }

  /// Tensors that must be equal where both are recorded.
  void equal(const std::string& group) {
    each(group, [&](const std::string& name, const RecordedTensor& a, const RecordedTensor& b) {
      const auto at = std::ranges::mismatch(a.values, b.values).in1 - a.values.begin();
      const auto element = static_cast<std::size_t>(at);
      if (element == a.values.size()) return;
      say(fmt::format("{}{} is {} in the first, {} in the second", name,
                      index_text(a.shape, element), a.values[element], b.values[element]));
    });
  }

  void difference() {
    each("", [&](const std::string& name, const RecordedTensor& a, const RecordedTensor& b) {
      double squares = 0;
      double differences = 0;
      for (std::size_t i = 0; i < a.values.size(); ++i) {
        const auto x = static_cast<double>(a.values[i]);
        const double d = static_cast<double>(b.values[i]) - x;
        squares += x * x;
        differences += d * d;
      }
      const double relative = differences == 0 ? 0 : std::sqrt(differences / squares);
      pair_.differences.push_back({first_.number, name, relative});
    });
  }

 private:
  void say(const std::string& what) {
    const std::string text = fmt::format("step {}: {}", first_.number, what);
    const auto known = std::ranges::find(pair_.unlike, text);
    if (known == pair_.unlike.end()) pair_.unlike.push_back(text);
  }
  template <typename Visit>
  void each(const std::string& group, const Visit& visit) {
    for (const auto& [name, a] : first_.tensors) {
      if (!name.starts_with(group)) continue;
      const RecordedTensor* const b = second_.find(name);
      if (b == nullptr) continue;
      if (a.shape != b->shape) {
        say(fmt::format("{} is {} in the first, {} in the second", name, shape_text(a.shape),
                        shape_text(b->shape)));
        continue;
      }
      visit(name, a, *b);
    }
  }

  const RecordedStep& first_;
  const RecordedStep& second_;
  PairVerdict& pair_;
};

}  // namespace

void judge_pair(const RecordedStep& first, const RecordedStep& second, bool begins,
                PairVerdict& pair) {
  Comparison comparison(first, second, pair);
  comparison.batch();
  if (begins) {
    comparison.equal("param/");
    comparison.equal("state/");
  }
  comparison.difference();
  pair.first.push_back(judge_recorded_step(first));
  pair.second.push_back(judge_recorded_step(second));
  diagnose_first(first, pair.first);
  diagnose_first(second, pair.second);
}

}  // namespace meshparity
