#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ci/report/write.h"
#include "golden/files/html.h"

namespace meshparity::report {
namespace {

constexpr double kBarsWidth = 900;
constexpr double kBarsLeft = 380;  // room for names
constexpr double kBarsRight = 90;  // and for ratios
constexpr double kLine = 17;       // from one bar to the next
constexpr double kHeading = 30;

// Met, missed, and for information (Okabe and Ito's palette).
const char* colour_of(const BenchRow& row) {
  if (row.bar == 0) return "#999999";
  return row.met() ? "#009e73" : "#d55e00";
}

/// The bar and the mark it is held to, on a scale on which `whole` fills the width.
std::string bar(const BenchRow& row, double y, double whole) {
  const double scale = (kBarsWidth - kBarsLeft - kBarsRight) / whole;
  std::string text = fmt::format(
      "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>"
      "<rect x=\"{}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>"
      "<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#1f2328\">{:.3g}</text>",
      kBarsLeft - 8, y + 10, html::escaped(row.name), kBarsLeft, y, row.ratio * scale, kLine - 5,
      colour_of(row), kBarsLeft + row.ratio * scale + 6, y + 10, row.ratio);
  if (row.bar > 0) {
    text += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"#1f2328\" "
        "stroke-width=\"2\"/>",
        kBarsLeft + row.bar * scale, y - 2, y + kLine - 3);
  }
  return text + "\n";
}

}  // namespace

std::string bench_bars(const std::vector<BenchRow>& rows) {
  std::string text;
  std::string part;
  double y = 10;
  double whole = 1;
  for (const BenchRow& row : rows) {
    if (!std::isfinite(row.ratio)) continue;
    if (row.part != part) {
      part = row.part;
      whole = 1;
      for (const BenchRow& other : rows) {
        if (other.part == part) whole = std::max({whole, other.ratio, other.bar});
      }
      text += fmt::format(
          "<text x=\"{}\" y=\"{:.1f}\" font-weight=\"600\" fill=\"#1f2328\">{}</text>\n", kBarsLeft,
          y + 18, html::escaped(part));
      y += kHeading;
    }
    text += bar(row, y, whole);
    y += kLine;
  }
  if (text.empty()) return "";
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" role=\"img\" aria-label=\"Measured ratios and the bars they are held to\" "
      "font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#57606a\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{2}</svg>\n",
      kBarsWidth, y + 10, text);
}

}  // namespace meshparity::report
