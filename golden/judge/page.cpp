#include "golden/judge/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/files/html.h"
#include "golden/files/printable.h"
#include "golden/files/safetensors.h"
#include "golden/files/tensor_map.h"
#include "golden/judge/verdict_text.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostShown = 400;  // bytes of a text from a recording

/// Text from a recording, as it may stand in a page.
std::string shown(const std::string& text) { return html::escaped(printable(text, kMostShown)); }

MapField field_of(const VerdictLine& line, bool is_first) {
  MapField field;
  field.tensor = printable(line.tensor);
  field.text = line.worst_ratio == 0 ? "0" : fmt::format("{:.2g}", line.worst_ratio);
  field.heat = line.state == LineState::different ? 2 : std::min(1.0, heat_of(line.worst_ratio, 4));
  field.grey = line.state == LineState::blunt;
  if (field.grey) field.text += " blunt";
  field.first = is_first;
  field.details = fmt::format(
      "{} ({}): error / bound {:.3g}, bound / value {:.3g}; {} is {:.9g}, expected {:.9g} within "
      "{:.3g}",
      field.tensor, line.kind, line.worst_ratio, line.bluntness,
      index_text(line.shape, line.element), line.actual, line.expected, line.bound);
  return field;
}

const VerdictLine* first_different(const StepVerdict& step) {
  const auto found = std::ranges::find(step.lines, LineState::different, &VerdictLine::state);
  return found == step.lines.end() ? nullptr : &*found;
}

std::string hypotheses_table(const Diagnosis& diagnosis) {
  if (diagnosis.fitting.empty()) return "";
  std::string text =
      "<div class=\"scroll\"><table>\n<thead><tr><th>name</th><th>the tensor equals</th><th>because"
      "</th><th>catalogue</th><th>of the difference is left</th><th>elements within the bound</th>"
      "</tr></thead>\n<tbody>\n";
  for (const Hypothesis& hypothesis : diagnosis.fitting) {
    const Mistake& m = hypothesis.mistake;
    text += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{:.2g}</td>"
        "<td class=\"number\">{} of {}</td></tr>\n",
        shown(m.id), shown(m.what), shown(m.why), shown(m.catalogue), hypothesis.unexplained,
        hypothesis.within, hypothesis.elements);
  }
  return text + "</tbody></table></div>\n";
}

std::string first_section(const StepVerdict& step, const VerdictLine& line) {
  std::string text = "<section class=\"failed\">\n<h2>The first difference</h2>\n";
  text += html::paragraph(fmt::format(
      "Step {}, {}{} ({}): {:.9g}, the oracle says {:.9g} within {:.3g}. All before it is right, "
      "so the mistake is here.",
      line.step, printable(line.tensor, kMostShown), index_text(line.shape, line.element),
      line.kind, line.actual, line.expected, line.bound));
  text += "</section>\n";
  if (!step.diagnosis) return text;
  text += "<section>\n<h2>What it is</h2>\n" + hypotheses_table(*step.diagnosis) + "<pre>" +
          html::escaped(printable_lines(step.diagnosis->text)) + "</pre>\n</section>\n";
  return text;
}

std::string list_section(const std::string& title, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string text = "<section>\n<h2>" + html::escaped(title) + "</h2>\n<ul>\n";
  for (const std::string& line : lines) text += "<li>" + shown(line) + "</li>\n";
  return text + "</ul>\n</section>\n";
}

}  // namespace

std::string verdict_page(const std::string& source, const std::string& premises,
                         const std::vector<StepVerdict>& steps) {
  const Outcome outcome = outcome_of(steps);
  std::string body = "<h1>meshparity-judge</h1>\n";
  body += fmt::format("<div class=\"verdict{}\">{}</div>\n",
                      outcome == Outcome::verified ? "" : " failed", outcome_text(outcome));
  body += html::paragraph(fmt::format("{}, {} steps", printable(source), steps.size()));
  body += html::paragraph(printable(premises, kMostShown));
  const StepVerdict* first = nullptr;
  std::vector<std::string> missing;
  std::vector<std::string> replicas;
  for (const StepVerdict& step : steps) {
    if (first == nullptr && first_different(step) != nullptr) first = &step;
    for (const ReplicaDifference& r : step.replicas) {
      replicas.push_back(fmt::format("step {}, {}, element {}: rank {} holds {}, rank {} holds {}",
                                     step.step, r.tensor, r.element, r.rank, r.value, r.other_rank,
                                     r.other_value));
    }
    for (const auto* const reasons : {&step.missing, &step.reasons}) {
      for (const std::string& reason : *reasons) {
        missing.push_back(fmt::format("step {}: {}", step.step, reason));
      }
    }
  }
  if (first != nullptr) body += first_section(*first, *first_different(*first));
  body += list_section("Ranks that should agree and do not", replicas);
  body += list_section("Missing, or unverified", missing);
  if (!steps.empty()) body += list_section("Not recorded", steps.front().not_recorded);
  body += "<section>\n<h2>Every tensor</h2>\n";
  body += html::paragraph(
      "The largest error over its bound: blue up to 1 (white: 1/10000), orange above, which is a "
      "mistake; grey where the bound is too wide to see one. The first mistake is framed. Rows are "
      "operations, in order.");
  for (const StepVerdict& step : steps) {
    std::vector<MapField> fields;
    const VerdictLine* const wrong = first_different(step);
    for (const VerdictLine& line : step.lines) {
      fields.push_back(field_of(line, first == &step && &line == wrong));
    }
    const bool open = first == nullptr ? &step == &steps.front() : first == &step;
    body += html::details(fmt::format("step {}", step.step), open, tensor_map(fields));
  }
  return html::page("meshparity-judge: " + outcome_text(outcome), kMapStyle, body + "</section>\n");
}

}  // namespace meshparity
