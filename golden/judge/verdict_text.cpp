#include "golden/judge/verdict_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "golden/files/printable.h"
#include "golden/files/safetensors.h"
#include "oracle/operations.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostNamed = 20;
constexpr std::size_t kMostBlunt = 5;

const char* state_text(LineState state) {
  switch (state) {
    case LineState::verified:
      return "verified";
    case LineState::different:
      return "different";
    case LineState::coarser:
      return "unverified: bf16";
    default:
      return "unverified: blunt";
  }
}

/// "0.031", and "-" for what is exactly right.
std::string ratio_text(double ratio) { return ratio == 0 ? "-" : fmt::format("{:.3g}", ratio); }

/// One line of the table: the tensors of a kind, or one tensor.
struct TableRow {
  std::string name;
  std::size_t tensors = 1;
  LineState state = LineState::verified;
  double worst_ratio = 0;
  double bluntness = 0;
  std::string worst;  // which is that of the ratio
};

int badness(LineState state) {
  return state == LineState::different ? 2 : state == LineState::verified ? 0 : 1;
}

std::string tensor_text(const VerdictLine& line) {
  return fmt::format("step {}, {}", line.step, line.tensor);
}

/// In the order in which kinds come first.
std::vector<TableRow> rows_by_kind(const std::vector<StepVerdict>& steps) {
  std::vector<TableRow> rows;
  for (const StepVerdict& step : steps) {
    for (const VerdictLine& line : step.lines) {
      auto row = std::ranges::find(rows, line.kind, &TableRow::name);
      if (row == rows.end()) {
        rows.push_back(
            {line.kind, 1, line.state, line.worst_ratio, line.bluntness, tensor_text(line)});
        continue;
      }
      ++row->tensors;
      if (badness(line.state) > badness(row->state)) row->state = line.state;
      row->bluntness = std::max(row->bluntness, line.bluntness);
      if (line.worst_ratio > row->worst_ratio) {
        row->worst_ratio = line.worst_ratio;
        row->worst = tensor_text(line);
      }
    }
  }
  return rows;
}

std::vector<TableRow> every_row(const std::vector<StepVerdict>& steps) {
  std::vector<TableRow> rows;
  for (const StepVerdict& step : steps) {
    for (const VerdictLine& line : step.lines) {
      rows.push_back(
          {line.kind, 1, line.state, line.worst_ratio, line.bluntness, tensor_text(line)});
    }
  }
  return rows;
}

std::string table_text(const std::vector<TableRow>& rows) {
  std::size_t width = 9;
  for (const TableRow& row : rows) width = std::max(width, row.name.size());
  std::string text = fmt::format("{:<{}}  {:>7}  {:<17}  {:>11}  {:>11}  {}\n", "operation", width,
                                 "tensors", "verdict", "error/bound", "bound/value", "worst");
  for (const TableRow& row : rows) {
    text += fmt::format("{:<{}}  {:>7}  {:<17}  {:>11}  {:>11}  {}\n", row.name, width, row.tensors,
                        state_text(row.state), ratio_text(row.worst_ratio),
                        ratio_text(row.bluntness), row.worst);
  }
  return text;
}

std::string list_text(const std::string& what, const std::vector<std::string>& names) {
  std::string text;
  const std::size_t shown = std::min(names.size(), kMostNamed);
  for (std::size_t i = 0; i < shown; ++i) {
    text += fmt::format("{}: {}\n", what, printable(names[i]));
  }
  if (shown < names.size()) text += fmt::format("{}: {} more\n", what, names.size() - shown);
  return text;
}

std::string replica_text(std::size_t step, const ReplicaDifference& replica) {
  return fmt::format("different: step {}, {}, element {}: rank {} holds {}, rank {} holds {}\n",
                     step, printable(replica.tensor), replica.element, replica.rank, replica.value,
                     replica.other_rank, replica.other_value);
}

const VerdictLine* first_different(const StepVerdict& step) {
  const auto found = std::ranges::find(step.lines, LineState::different, &VerdictLine::state);
  return found == step.lines.end() ? nullptr : &*found;
}

std::string difference_text(const VerdictLine& line) {
  return fmt::format(
      "first difference: step {}, {}{} ({}): {:.9g}, the oracle says {:.9g} within {:.3g}, "
      "error / bound {:.3g}\n",
      line.step, printable(line.tensor), index_text(line.shape, line.element), line.kind,
      line.actual, line.expected, line.bound, line.worst_ratio);
}

/// Tensors whose bounds say nothing; they are named without --all as far as they are few.
std::string blunt_text(const std::vector<StepVerdict>& steps) {
  std::string text;
  std::size_t blunt = 0;
  for (const StepVerdict& step : steps) {
    for (const VerdictLine& line : step.lines) {
      if (line.state != LineState::blunt || ++blunt > kMostBlunt) continue;
      text += fmt::format("unverified: step {}, {}: ", line.step, printable(line.tensor));
      text +=
          std::isfinite(line.bluntness)
              ? fmt::format("the bound is {:.3g} of the values' root mean square, ", line.bluntness)
              : "no bound holds; ";
      text += fmt::format("the error {:.3g} of it\n", line.relative_error);
    }
  }
  if (blunt > kMostBlunt) {
    text += fmt::format("unverified: {} more, see --all\n", blunt - kMostBlunt);
  }
  if (blunt > 0) {
    text +=
        "try: record operations (golden/RECORDINGS.md), or give 'longest_chain' if you know how "
        "many terms the framework adds one after another\n";
  }
  return text;
}

std::string findings_text(const std::vector<StepVerdict>& steps) {
  std::string text;
  for (const StepVerdict& step : steps) {
    for (const ReplicaDifference& replica : step.replicas) text += replica_text(step.step, replica);
  }
  for (const StepVerdict& step : steps) {
    if (const VerdictLine* const line = first_different(step)) {
      text += difference_text(*line);
      if (step.diagnosis) text += step.diagnosis->text + "\n";
      break;
    }
  }
  for (const StepVerdict& step : steps) {
    text += list_text(fmt::format("missing: step {}", step.step), step.missing);
    text += list_text(fmt::format("unverified: step {}", step.step), step.reasons);
  }
  text += blunt_text(steps);
  if (!steps.empty()) text += list_text("not recorded", steps.front().not_recorded);
  return text;
}

nlohmann::ordered_json json_of(const VerdictLine& line) {
  const auto number = [](double x) {
    return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json("infinite");
  };
  return {{"step", line.step},
          {"tensor", line.tensor},
          {"kind", line.kind},
          {"verdict", state_text(line.state)},
          {"error_over_bound", number(line.worst_ratio)},
          {"bound_over_value", number(line.bluntness)},
          {"error_over_value", number(line.relative_error)},
          {"index", index_text(line.shape, line.element)},
          {"actual", number(line.actual)},
          {"expected", number(line.expected)},
          {"bound", number(line.bound)}};
}

}  // namespace

Outcome outcome_of(const std::vector<StepVerdict>& steps) {
  if (std::ranges::any_of(steps, &StepVerdict::different)) return Outcome::different;
  if (std::ranges::any_of(steps, &StepVerdict::unverified)) return Outcome::unverified;
  return Outcome::verified;
}

std::string outcome_text(Outcome outcome) {
  switch (outcome) {
    case Outcome::verified:
      return "verified";
    case Outcome::different:
      return "different";
    default:
      return "unverified";
  }
}

std::string premises_text(const RecordedStep& step) {
  std::string arithmetic = "float32";
  if (step.arithmetic == RecordedArithmetic::tf32) {
    arithmetic = "float32, factors of products cut to 10 bits (tf32)";
  } else if (step.arithmetic == RecordedArithmetic::bf16) {
    arithmetic = "float32 sums of bfloat16, stored as bfloat16";
  }
  const std::string sums =
      step.longest_chain
          ? fmt::format("in chains of at most {} terms, joined by a tree", *step.longest_chain)
          : "in any order";
  return fmt::format(
      "premises: {}; sums {}; exp, log, tanh and roots within {} ulp, erf within 2^-20\n",
      arithmetic, sums, kLibraryUlp);
}

std::string verdict_text(const std::vector<StepVerdict>& steps, bool all) {
  const Outcome outcome = outcome_of(steps);
  return table_text(all ? every_row(steps) : rows_by_kind(steps)) + findings_text(steps) +
         fmt::format("verdict: {}\n", outcome_text(outcome));
}

Outcome outcome_of(const PairVerdict& pair) {
  const Outcome first = outcome_of(pair.first);
  const Outcome second = outcome_of(pair.second);
  if (!pair.unlike.empty() || first == Outcome::different || second == Outcome::different) {
    return Outcome::different;
  }
  return first == Outcome::verified ? second : first;
}

std::string pair_text(const PairVerdict& pair, bool all) {
  std::string text = "the first recording\n" + verdict_text(pair.first, all) +
                     "\nthe second recording\n" + verdict_text(pair.second, all) + "\nboth\n";
  std::vector<TensorDifference> furthest = pair.differences;
  std::ranges::stable_sort(furthest, std::greater(), &TensorDifference::relative);
  if (!all && furthest.size() > kMostBlunt) furthest.resize(kMostBlunt);
  for (const TensorDifference& difference : furthest) {
    text += fmt::format("apart by {:.3g} of the root mean square: step {}, {}\n",
                        difference.relative, difference.step, printable(difference.tensor));
  }
  text += list_text("unlike", pair.unlike);
  const bool first_is_off = outcome_of(pair.first) == Outcome::different;
  const bool second_is_off = outcome_of(pair.second) == Outcome::different;
  if (first_is_off || second_is_off) {
    text += fmt::format("off: {}\n", first_is_off && second_is_off ? "both"
                                     : first_is_off                ? "the first"
                                                                   : "the second");
  }
  return text + fmt::format("verdict: {}\n", outcome_text(outcome_of(pair)));
}

namespace {

nlohmann::ordered_json json_of(const Diagnosis& diagnosis) {
  auto json = nlohmann::ordered_json::array();
  for (const Hypothesis& hypothesis : diagnosis.fitting) {
    const Mistake& mistake = hypothesis.mistake;
    json.push_back({{"name", mistake.id},
                    {"what", mistake.what},
                    {"why", mistake.why},
                    {"catalogue", mistake.catalogue},
                    {"unexplained", hypothesis.unexplained},
                    {"within", hypothesis.within},
                    {"elements", hypothesis.elements}});
  }
  return json;
}

nlohmann::ordered_json json_of(const std::vector<StepVerdict>& steps) {
  auto json = nlohmann::ordered_json::object();
  json["verdict"] = outcome_text(outcome_of(steps));
  json["first"] = nullptr;
  json["hypotheses"] = nlohmann::ordered_json::array();
  json["replicas"] = nlohmann::ordered_json::array();
  json["missing"] = nlohmann::ordered_json::array();
  json["reasons"] = nlohmann::ordered_json::array();
  json["lines"] = nlohmann::ordered_json::array();
  for (const StepVerdict& step : steps) {
    const VerdictLine* const first = first_different(step);
    if (first != nullptr && json["first"].is_null()) {
      json["first"] = json_of(*first);
      if (step.diagnosis) json["hypotheses"] = json_of(*step.diagnosis);
    }
    for (const ReplicaDifference& replica : step.replicas) {
      json["replicas"].push_back({{"step", step.step},
                                  {"tensor", replica.tensor},
                                  {"element", replica.element},
                                  {"rank", replica.rank},
                                  {"other_rank", replica.other_rank}});
    }
    for (const std::string& name : step.missing) json["missing"].push_back(name);
    for (const std::string& reason : step.reasons) json["reasons"].push_back(reason);
    for (const VerdictLine& line : step.lines) json["lines"].push_back(json_of(line));
  }
  return json;
}

}  // namespace

std::string verdict_json(const std::vector<StepVerdict>& steps) {
  return json_of(steps).dump(2) + "\n";
}

std::string pair_json(const PairVerdict& pair) {
  const nlohmann::ordered_json json = {{"verdict", outcome_text(outcome_of(pair))},
                                       {"unlike", pair.unlike},
                                       {"recordings", {json_of(pair.first), json_of(pair.second)}}};
  return json.dump(2) + "\n";
}

}  // namespace meshparity
