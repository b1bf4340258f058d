#pragma once

#include <string>
#include <vector>

#include "ci/results.h"
#include "ci/sections.h"

namespace meshparity::report {

/// Each returns the whole document. `title` is its first line.
std::string as_text(const std::string& title, const std::vector<Section>& sections);
/// `picture`: the path of the loss curves as the document links to it; empty for none.
std::string as_markdown(const std::string& title, const std::vector<Section>& sections,
                        const std::string& picture);
/// One file with nothing to load: `picture` is an <svg> element or empty.
std::string as_html(const std::string& title, const std::vector<Section>& sections,
                    const std::string& picture);

/// The losses of every recorded trace against the step (logarithmic), as an <svg> element; empty
/// without curves.
std::string loss_curves(const std::vector<GoldenRow>& goldens);

/// Text as it stands in HTML or XML.
std::string escaped(const std::string& text);

}  // namespace meshparity::report
