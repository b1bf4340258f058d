#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "ci/report/write.h"
#include "golden/files/html.h"

namespace meshparity::report {
namespace {

constexpr double kCurvesWidth = 900;
constexpr double kHeight = 420;
constexpr double kCurvesLeft = 60;
constexpr double kCurvesRight = 150;  // room for the legend
constexpr double kTop = 20;
constexpr double kBottom = 50;

// Colours that colour-blind readers can tell apart (Okabe and Ito's palette, without its yellow).
constexpr std::array<const char*, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                 "#56b4e9", "#e69f00", "#000000"};

/// From data to picture. x is log10(step + 1), because some recipes are a hundred times longer.
struct Frame {
  double last_step = 1;
  double lowest = 0;
  double highest = 1;

  double x(double step) const {
    return kCurvesLeft + std::log10(step + 1) / std::log10(last_step + 1) *
                             (kCurvesWidth - kCurvesLeft - kCurvesRight);
  }
  double y(double loss) const {
    return kTop + (highest - loss) / (highest - lowest) * (kHeight - kTop - kBottom);
  }
};

/// A round distance between ticks, so that about five fit.
double tick_distance(double range) {
  const double rough = range / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

Frame frame_around(const std::vector<GoldenRow>& goldens) {
  Frame frame;
  bool first = true;
  for (const GoldenRow& golden : goldens) {
    for (const auto& [step, loss] : golden.curve) {
      frame.last_step = std::max(frame.last_step, step);
      frame.lowest = first ? loss : std::min(frame.lowest, loss);
      frame.highest = first ? loss : std::max(frame.highest, loss);
      first = false;
    }
  }
  if (frame.highest - frame.lowest < 1e-9) frame.highest = frame.lowest + 1;
  const double distance = tick_distance(frame.highest - frame.lowest);
  frame.lowest = std::floor(frame.lowest / distance) * distance;
  frame.highest = std::ceil(frame.highest / distance) * distance;
  return frame;
}

std::string axes(const Frame& frame) {
  std::string text;
  const double base = kHeight - kBottom;
  const double distance = tick_distance(frame.highest - frame.lowest);
  const auto ticks = static_cast<int>(std::lround((frame.highest - frame.lowest) / distance));
  for (int tick = 0; tick <= ticks; ++tick) {
    const double loss = frame.lowest + tick * distance;
    text += fmt::format(
        "<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\" stroke=\"#e4e8ec\"/>"
        "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.4g}</text>\n",
        kCurvesLeft, frame.y(loss), kCurvesWidth - kCurvesRight, frame.y(loss), kCurvesLeft - 8,
        frame.y(loss) + 4, loss);
  }
  std::vector<double> steps = {0};
  for (auto decade = 1L; decade <= std::lround(frame.last_step); decade *= 10) {
    steps.push_back(static_cast<double>(decade));
  }
  for (const double step : steps) {
    text += fmt::format(
        "<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" stroke=\"#57606a\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:.0f}</text>\n",
        frame.x(step), base, base + 5, base + 20, step);
  }
  text += fmt::format(
      "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"#57606a\"/>\n"
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">step (logarithmic)</text>\n"
      "<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">loss of the "
      "batch</text>\n",
      kCurvesLeft, base, kCurvesWidth - kCurvesRight, base,
      (kCurvesLeft + kCurvesWidth - kCurvesRight) / 2, kHeight - 8, (kTop + base) / 2);
  return text;
}

}  // namespace

std::string loss_curves(const std::vector<GoldenRow>& goldens) {
  const bool any = std::any_of(goldens.begin(), goldens.end(),
                               [](const GoldenRow& golden) { return !golden.curve.empty(); });
  if (!any) return "";
  const Frame frame = frame_around(goldens);
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" "
      "role=\"img\" aria-label=\"Loss against step, one curve per recipe\" "
      "font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#57606a\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      kCurvesWidth, kHeight);
  text += axes(frame);
  double legend = kTop + 6;
  for (std::size_t index = 0; index < goldens.size(); ++index) {
    const GoldenRow& golden = goldens[index];
    const char* colour = kColours[index % kColours.size()];
    text += fmt::format(R"(<polyline fill="none" stroke="{}" stroke-width="1.5" points=")", colour);
    for (const auto& [step, loss] : golden.curve) {
      text += fmt::format("{:.1f},{:.1f} ", frame.x(step), frame.y(loss));
    }
    text += "\"/>\n";
    text += fmt::format(
        "<line x1=\"{0}\" y1=\"{2}\" x2=\"{1}\" y2=\"{2}\" stroke=\"{3}\" stroke-width=\"3\"/>"
        "<text x=\"{4}\" y=\"{5}\" fill=\"#1f2328\">{6}</text>\n",
        kCurvesWidth - kCurvesRight + 14, kCurvesWidth - kCurvesRight + 34, legend, colour,
        kCurvesWidth - kCurvesRight + 42, legend + 4, html::escaped(golden.recipe));
    legend += 18;
  }
  return text + "</svg>\n";
}

}  // namespace meshparity::report
