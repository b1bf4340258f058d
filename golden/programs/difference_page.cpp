#include "golden/programs/difference_page.h"

#include <fmt/format.h>

#include "golden/files/html.h"
#include "golden/files/printable.h"
#include "golden/files/tensor_map.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostOnAPage = 400;  // bytes of a text from a file

}  // namespace

std::string difference_page(const std::string& source, const std::string& difference,
                            const std::vector<TensorComparison>& tensors) {
  std::string body = "<h1>meshparity-diff</h1>\n";
  body += fmt::format("<div class=\"verdict{}\">{}</div>\n", difference.empty() ? "" : " failed",
                      difference.empty() ? "the same, bit for bit" : "not the same");
  body += html::paragraph(printable(source, kMostOnAPage));
  if (!difference.empty()) {
    body += "<section class=\"failed\">\n<h2>The first difference</h2>\n" +
            html::paragraph(printable(difference, kMostOnAPage)) + "</section>\n";
  }
  if (!tensors.empty()) {
    body += "<section>\n<h2>Every tensor</h2>\n";
    body += html::paragraph(
        "How many elements differ. Blue: by their root mean square over that of the values, deeper "
        "from 1e-8 to 1e-4; orange above; white where all bits are equal. The first difference is "
        "framed.");
  }
  bool found = false;
  for (std::size_t begin = 0; begin < tensors.size();) {
    std::size_t end = begin;
    std::vector<MapField> fields;
    bool open = begin == 0;
    for (; end < tensors.size() && tensors[end].step == tensors[begin].step; ++end) {
      const TensorComparison& t = tensors[end];
      const bool differs = !t.finding.empty();
      open = open || (differs && !found);
      fields.push_back({printable(t.tensor), differs ? fmt::format("{}", t.different) : "",
                        printable(t.finding, kMostOnAPage), heat_of(1e4 * t.relative, 4), false,
                        differs && !found});
      if (differs && t.relative == 0) fields.back().heat = 2;
      found = found || differs;
    }
    body += html::details(fmt::format("step {}", tensors[begin].step), open, tensor_map(fields));
    begin = end;
  }
  if (!tensors.empty()) body += "</section>\n";
  return html::page(
      difference.empty() ? "meshparity-diff: the same" : "meshparity-diff: not the same", kMapStyle,
      body);
}

}  // namespace meshparity
