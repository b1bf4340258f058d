#include "golden/judge/suspects.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "golden/judge/bfloat16.h"
#include "golden/judge/diagnosis.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostTerms = 16;
constexpr std::size_t kMostNumbers = std::size_t{1} << 28;  // of all terms: 2 GiB

/// Rows that go together.
struct Group {
  std::string name;
  std::function<bool(std::size_t)> has;  // a row
};

/// Nearly equal; the longer ones come first.
std::vector<Range> equal_ranges(std::size_t size, std::size_t number) {
  std::vector<Range> ranges;
  for (std::size_t i = 0, begin = 0; i < number; ++i) {
    const std::size_t end = begin + size / number + (i < size % number ? 1 : 0);
    ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

std::vector<Range> parts_of(const RecordedStep& step) {
  std::vector<Range> parts;
  for (const RecordedPart& part : step.parts) parts.push_back(part.samples);
  return parts;
}

std::vector<Group> groups_of_samples(const std::vector<Range>& samples, std::size_t positions) {
  std::vector<Group> groups;
  for (const Range& range : samples) {
    const std::string name = range.size() == 1
                                 ? fmt::format("sample {}", range.begin)
                                 : fmt::format("samples [{}, {})", range.begin, range.end);
    groups.push_back({name, [=](std::size_t row) {
                        return row / positions >= range.begin && row / positions < range.end;
                      }});
  }
  return groups;
}

std::vector<Group> groups_of_positions(const std::vector<Range>& ranges, std::size_t positions) {
  std::vector<Group> groups;
  for (const Range& range : ranges) {
    groups.push_back(
        {fmt::format("positions [{}, {})", range.begin, range.end), [=](std::size_t row) {
           return row % positions >= range.begin && row % positions < range.end;
         }});
  }
  return groups;
}

/// The gradient as a sum over groups of rows.
std::vector<Term> terms_of(StepValues& values, const std::string& parameter,
                           const std::vector<Group>& groups) {
  const std::vector<double> all = values.row_weights();
  std::vector<Term> terms;
  for (const Group& group : groups) {
    std::vector<double> weights = all;
    for (std::size_t row = 0; row < weights.size(); ++row) {
      if (!group.has(row)) weights[row] = 0;
    }
    terms.push_back({group.name, values.gradient(parameter, weights), 1});
  }
  return terms;
}

SumMistakes mistakes_of_parts() {
  const std::string again = "a part is counted another number of times";
  return {
      {"one-part-only", "", "the other parts were never added: not reduced, overwritten or cleared",
       "A16, E01, E02, E10, E17, E22, E23, H02"},
      {"part-missing", "", "a part was never added", "E04, F01, I04"},
      {"part-twice", "", again, "A18, D13, E08, E20"},
      {"parts-weighted", "", "parts have other weights", "A04, A18, I05"}};
}

SumMistakes mistakes_of_positions() {
  return {{"one-part-only", "", "not reduced over the ranks that share out positions", "C01, B08"},
          {"part-missing", "", "some positions were never added", "C01, C04"},
          {"part-twice", "", "some positions are counted another number of times", "C04"},
          {"parts-weighted", "", "positions have other weights", "C04"}};
}

SumMistakes mistakes_of_uses() {
  return {{"tied-use-missing", "", "the gradient of the tied parameter's other use is missing",
           "D03, D04, D06"},
          {"tied-use-missing", "", "the gradient of one use is missing", "D03, D04, D06"},
          {"tied-use-twice", "", "a use of the tied parameter is counted another number of times",
           "D05"},
          {"tied-uses-weighted", "", "the uses of the tied parameter have other weights", "D05"}};
}

SumMistakes mistakes_of_steps() {
  const std::string kept = "the gradient of the step before was not cleared";
  return {{"stale-gradient", "", "it is the gradient of the step before", "E05, D14"},
          {"stale-gradient", "", "it is the gradient of the step before", "E05, D14"},
          {"not-zeroed", "", kept, "E12, E13"},
          {"not-zeroed", "", kept, "E12, E13"}};
}

/// Each share divided by its own targets, then averaged: multiples of the groups' gradients. Empty
/// if groups do not lie within shares.
std::vector<double> mean_of_means(const RecordedStep& step, const std::vector<Range>& groups,
                                  const std::vector<Range>& shares) {
  const auto targets = [&](const Range& samples) {
    return static_cast<double>(
        targets_in(step, samples.begin * step.positions, samples.end * step.positions));
  };
  const double all = targets({0, step.samples});
  std::vector<double> multiples;
  for (const Range& group : groups) {
    const auto share = std::ranges::find_if(
        shares, [&](const Range& s) { return s.begin <= group.begin && group.end <= s.end; });
    if (share == shares.end() || targets(*share) == 0) return {};
    multiples.push_back(all / targets(*share) / static_cast<double>(shares.size()));
  }
  return multiples;
}

std::vector<SumPattern> patterns_of(const RecordedStep& step, const std::vector<Range>& groups) {
  std::vector<std::vector<Range>> cuts;
  if (step.parts.size() > 1) cuts.push_back(parts_of(step));
  for (const NamedSize& size : sizes_of(step)) {
    if (!size.of_targets) {
      cuts.push_back(equal_ranges(step.samples, static_cast<std::size_t>(size.size)));
    }
  }
  std::vector<SumPattern> patterns;
  for (const std::vector<Range>& shares : cuts) {
    const std::vector<double> multiples = mean_of_means(step, groups, shares);
    if (multiples.empty()) continue;
    if (std::ranges::all_of(multiples, [](double m) { return std::abs(m - 1) < 1e-9; })) continue;
    patterns.push_back(
        {{"mean-of-means", fmt::format("the mean of the means of {} parts", shares.size()),
          "parts have different numbers of targets, but count alike", "A01, A11, A18, A19"},
         multiples});
  }
  return patterns;
}

void try_samples(StepValues& values, const std::string& parameter,
                 const std::vector<Range>& samples, Hypotheses& hypotheses) {
  const RecordedStep& step = values.step();
  const auto terms = terms_of(values, parameter, groups_of_samples(samples, step.positions));
  hypotheses.try_sum(mistakes_of_parts(), terms, patterns_of(step, samples));
  hypotheses.try_terms_in_pieces(
      {"one-part-only", "", "shards are not added up over the ranks that share out the batch",
       "E01, E17, H02"},
      terms);
  for (const auto& [convert, verb] :
       {std::pair(&rounded_to_bfloat16, "rounded"), std::pair(&cut_to_bfloat16, "cut off")}) {
    std::vector<double> sum(terms[0].values.size());
    for (const Term& term : terms) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += convert(term.values[i]);
    }
    hypotheses.try_values(
        {"rounded-to-bf16",
         fmt::format("the sum of {} parts, each {} to bfloat16", terms.size(), verb),
         "parts are kept or sent in bfloat16", "E03, E19"},
        sum);
  }
}

}  // namespace

std::size_t targets_in(const RecordedStep& step, std::size_t begin, std::size_t end) {
  const auto first = step.targets.begin() + static_cast<std::ptrdiff_t>(begin);
  const auto last = step.targets.begin() + static_cast<std::ptrdiff_t>(end);
  return static_cast<std::size_t>(std::count_if(first, last, [](Token t) { return t >= 0; }));
}

void try_gradient(const RecordedStep& step, const std::string& parameter,
                  const RecordedStep* before, Hypotheses& hypotheses) {
  StepValues values(step);
  const std::size_t elements = values.parameter(parameter).value.size();
  const std::size_t most = std::clamp<std::size_t>(kMostNumbers / elements, 2, kMostTerms);
  std::vector<std::vector<Range>> cuts;
  if (step.parts.size() > 1 && step.parts.size() <= most) {
    cuts.push_back(parts_of(step));
  }
  const std::size_t groups = std::min(step.samples, most);
  if (groups > 1 && groups != step.parts.size()) {
    cuts.push_back(equal_ranges(step.samples, groups));
  }
  for (const NamedSize& size : sizes_of(step)) {  // of ranks that share out the batch
    const auto number = static_cast<std::size_t>(size.size);
    if (!size.of_targets && number < groups) cuts.push_back(equal_ranges(step.samples, number));
  }
  for (auto samples = cuts.begin(); samples != cuts.end(); ++samples) {
    if (std::find(cuts.begin(), samples, *samples) != samples) continue;
    try_samples(values, parameter, *samples, hypotheses);
  }
  if (step.positions >= 4 && most >= 4) {
    const auto ranges = equal_ranges(step.positions, 4);
    hypotheses.try_sum(mistakes_of_positions(),
                       terms_of(values, parameter, groups_of_positions(ranges, step.positions)),
                       {});
  }
  const std::vector<double> weights = values.row_weights();
  if (parameter == "wte.weight" && step.model.tied) {
    hypotheses.try_sum(
        mistakes_of_uses(),
        {{"its use by the embedding",
          values.gradient(parameter, weights, StepValues::Use::embedding)},
         {"its use by the head", values.gradient(parameter, weights, StepValues::Use::head)}},
        {});
  }
  const RecordedTensor* const earlier =
      before == nullptr ? nullptr : before->find("grad/" + parameter);
  if (earlier == nullptr) return;
  hypotheses.try_sum(
      mistakes_of_steps(),
      {{"this step's gradient", values.gradient(parameter, weights), 1},
       {"the gradient of the step before", {earlier->values.begin(), earlier->values.end()}, 0}},
      {});
}

void try_own_means(const RecordedStep& step, const std::string& tensor, Hypotheses& hypotheses) {
  if (tensor != "loss" && !tensor.starts_with("grad_")) return;
  StepValues values(step);
  if (!values.knows(tensor)) return;
  const BoundedMatrix right = values.computed(tensor);
  const auto all = static_cast<double>(targets_in(step, 0, step.rows()));
  std::vector<std::vector<Range>> cuts;
  if (step.parts.size() > 1) cuts.push_back(parts_of(step));
  for (const NamedSize& size : sizes_of(step)) {
    const auto number = static_cast<std::size_t>(size.size);
    if (tensor != "loss" && !size.of_targets && number <= step.samples) {
      cuts.push_back(equal_ranges(step.samples, number));
    }
  }
  for (const std::vector<Range>& shares : cuts) {
    // What the means of the parts are multiplied with: alike, or by their share of the samples.
    const auto parts = static_cast<double>(shares.size());
    std::vector<std::vector<double>> ways;
    for (const double alike : {1.0, 1 / parts, static_cast<double>(step.ranks) / parts}) {
      ways.emplace_back(shares.size(), alike);
    }
    auto& by_samples = ways.emplace_back();
    for (const Range& share : shares) {
      by_samples.push_back(static_cast<double>(share.size()) / static_cast<double>(step.samples));
    }
    for (const std::vector<double>& of_part : ways) {
      std::vector<double> own = right.value;
      for (std::size_t p = 0; p < shares.size(); ++p) {
        const std::size_t begin = shares[p].begin * step.positions;
        const std::size_t end = shares[p].end * step.positions;
        const double weight = step.parts.size() == shares.size() ? step.parts[p].weight : 1;
        const auto targets = static_cast<double>(targets_in(step, begin, end));
        const double multiple = targets == 0 ? 0 : of_part[p] * all * weight / targets;
        const std::size_t width = tensor == "loss" ? 1 : right.columns;
        const std::size_t first = tensor == "loss" ? p : begin;
        const std::size_t last = tensor == "loss" ? p + 1 : end;
        for (std::size_t i = first * width; i < last * width; ++i) own[i] *= multiple;
      }
      hypotheses.try_values(
          {"mean-of-means",
           fmt::format("each of {} parts divided by its own targets", shares.size()),
           "parts have different numbers of targets, but count alike", "A01, A11, A19"},
          own);
    }
  }
}

}  // namespace meshparity
