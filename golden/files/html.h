#pragma once

#include <string>
#include <string_view>

/// Pages with nothing to load: what the reports share.
namespace meshparity::html {

/// Text as it stands in HTML or XML, also between quotation marks.
inline std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += letter;
    }
  }
  return result;
}

inline constexpr const char* kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; margin: 2.5rem auto;
       max-width: 68rem; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .75rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .3rem; }
p { margin: .3rem 0 .8rem; color: #57606a; }
.verdict { display: inline-block; padding: .35rem .8rem; border-radius: .4rem; color: #116329;
           background: #dafbe1; font-weight: 600; }
.verdict.failed, .failed p { color: #a40e26; }
.verdict.failed { background: #ffebe9; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid #d8dee4;
         vertical-align: top; }
th { color: #57606a; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { max-width: 100%; height: auto; }
)";

inline std::string paragraph(std::string_view text) { return "<p>" + escaped(text) + "</p>\n"; }

/// What can be opened and closed; `body` is written as it is.
inline std::string details(std::string_view title, bool open, std::string_view body) {
  std::string text = open ? "<details open>\n<summary>" : "<details>\n<summary>";
  text += escaped(title);
  text += "</summary>\n";
  text += body;
  return text + "</details>\n";
}

/// A whole document. `title` is text; `style`, which comes beside the shared one, and `body` are
/// written as they are.
inline std::string page(std::string_view title, std::string_view style, std::string_view body) {
  std::string text =
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
  text += escaped(title);
  text += "</title>\n<style>";
  text += kStyle;
  text += style;
  text += "</style>\n</head>\n<body>\n";
  text += body;
  return text + "</body>\n</html>\n";
}

}  // namespace meshparity::html
