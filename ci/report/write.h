#pragma once

#include <string>
#include <vector>

#include "ci/report/results.h"
#include "ci/report/sections.h"

namespace meshparity::report {

/// An <svg> element, and the file it is written to.
struct Picture {
  std::string title;
  std::string summary;  // one sentence
  std::string file;
  std::string svg;
};

/// Each returns the whole document. `title` is its first line.
std::string as_text(const std::string& title, const std::vector<Section>& sections);
/// Links to the pictures' files.
std::string as_markdown(const std::string& title, const std::vector<Section>& sections,
                        const std::vector<Picture>& pictures);
/// One file with nothing to load.
std::string as_html(const std::string& title, const std::vector<Section>& sections,
                    const std::vector<Picture>& pictures);

/// The losses of every recorded trace against the step (logarithmic), as an <svg> element; empty
/// without curves.
std::string loss_curves(const std::vector<GoldenRow>& goldens);

/// What ci/bench measured, as one bar for each ratio, with a mark at what it is held to; an <svg>
/// element, empty without ratios.
std::string bench_bars(const std::vector<BenchRow>& rows);

}  // namespace meshparity::report
