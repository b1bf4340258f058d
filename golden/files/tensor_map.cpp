#include "golden/files/tensor_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "golden/files/html.h"

namespace meshparity {
namespace {

using html::escaped;

/// Groups of a recording, in the order of a step.
struct Column {
  std::string_view group;  // before the operation's name, or the parameter's
  std::string_view kind;   // of the parameter: "weight", "bias"
  std::string_view title;
  std::string_view over;  // over several titles
};
constexpr std::array<Column, 14> kColumns = {{
    {"input/", "", "input", "forward"},
    {"output/", "", "output", "forward"},
    {"grad_output/", "", "of output", "backward"},
    {"grad_input/", "", "of input", "backward"},
    {"grad/", ".weight", "weight", "gradient"},
    {"grad/", ".bias", "bias", "gradient"},
    {"state_after/exp_avg/", ".weight", "weight", "first moment"},
    {"state_after/exp_avg/", ".bias", "bias", "first moment"},
    {"state_after/exp_avg_sq/", ".weight", "weight", "second moment"},
    {"state_after/exp_avg_sq/", ".bias", "bias", "second moment"},
    {"param_after/", ".weight", "weight", "after the step"},
    {"param_after/", ".bias", "bias", "after the step"},
    {"param/", ".weight", "weight", "before the step"},
    {"param/", ".bias", "bias", "before the step"},
}};

struct Place {
  std::string row;
  std::size_t column = 1;  // of what is not known: the output
};

Place place_of(const std::string& tensor) {
  for (std::size_t c = 0; c < kColumns.size(); ++c) {
    const Column& column = kColumns[c];
    if (!tensor.starts_with(column.group) || !tensor.ends_with(column.kind)) continue;
    const std::size_t from = column.group.size();
    return {tensor.substr(from, tensor.size() - from - column.kind.size()), c};
  }
  return {tensor};
}

/// White to blue up to 1, then orange, on a scale that colour-blind readers can tell apart.
std::string colour_of(const MapField& field) {
  if (field.grey) return "#d8dee4";
  if (field.heat > 1) return "#e69f00";
  const double share = std::clamp(field.heat, 0.0, 1.0);
  const auto mix = [&](int full) {
    return static_cast<int>(std::lround(255 + share * (full - 255)));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(0x8f), mix(0xc4), mix(0xe8));
}

std::string field_text(const MapField& field) {
  return fmt::format(R"(<td class="field{}" style="background:{}" title="{}">{}{}</td>)",
                     field.first ? " first" : "", colour_of(field), escaped(field.details),
                     field.first ? "first: " : "", escaped(field.text));
}

}  // namespace

const char* const kMapStyle = R"(
body { max-width: 90rem; }
.map th, .map td { padding: .15rem .5rem; border: 1px solid #fff; white-space: nowrap; }
.map th { text-align: center; }
.map tbody th { text-align: left; font-weight: 400; font-family: ui-monospace, monospace; }
.field { text-align: right; font-variant-numeric: tabular-nums; }
.first { outline: 3px solid #d55e00; outline-offset: -3px; font-weight: 700; }
pre { white-space: pre-wrap; background: #f6f8fa; padding: .8rem; border-radius: .4rem; }
summary { cursor: pointer; font-weight: 600; margin: 1rem 0 .4rem; }
)";

double heat_of(double number, double decades) {
  return number <= 0 ? 0 : std::max(0.02, 1 + std::log10(number) / decades);
}

std::string tensor_map(const std::vector<MapField>& fields) {
  std::vector<std::string> rows;
  std::map<std::pair<std::string, std::size_t>, const MapField*> at;
  std::array<bool, kColumns.size()> used{};
  for (const MapField& field : fields) {
    const Place place = place_of(field.tensor);
    if (std::ranges::find(rows, place.row) == rows.end()) rows.push_back(place.row);
    used[place.column] = true;
    at.emplace(std::pair(place.row, place.column), &field);
  }
  std::string over;
  std::string titles;
  for (std::size_t c = 0; c < kColumns.size();) {
    std::size_t end = c;
    std::size_t shown = 0;
    for (; end < kColumns.size() && kColumns[end].over == kColumns[c].over; ++end) {
      if (!used[end]) continue;
      ++shown;
      titles += fmt::format("<th>{}</th>", kColumns[end].title);
    }
    if (shown > 0) over += fmt::format("<th colspan=\"{}\">{}</th>", shown, kColumns[c].over);
    c = end;
  }
  std::string text =
      "<div class=\"scroll\"><table class=\"map\">\n<thead><tr><th rowspan=\"2\"></th>" + over +
      "</tr>\n<tr>" + titles + "</tr></thead>\n<tbody>\n";
  for (const std::string& row : rows) {
    text += "<tr><th>" + escaped(row) + "</th>";
    for (std::size_t c = 0; c < kColumns.size(); ++c) {
      if (!used[c]) continue;
      const auto field = at.find({row, c});
      text += field == at.end() ? "<td></td>" : field_text(*field->second);
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

}  // namespace meshparity
