#include "ci/report/write.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "golden/files/html.h"

namespace meshparity::report {
namespace {

using html::escaped;

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.-+e% ") == std::string::npos;
}

/// Columns of numbers are aligned to the right.
std::vector<bool> numeric_columns(const Table& table) {
  std::vector<bool> numeric(table.headers.size(), true);
  for (const auto& row : table.rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      numeric[column] = numeric[column] && (row[column].empty() || is_number(row[column]));
    }
  }
  return numeric;
}

std::string text_table(const Table& table) {
  std::vector<std::size_t> widths;
  for (const std::string& header : table.headers) widths.push_back(header.size());
  for (const auto& row : table.rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  const std::vector<bool> numeric = numeric_columns(table);
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text = " ";
    for (std::size_t column = 0; column < cells.size(); ++column) {
      text += numeric[column] ? fmt::format(" {:>{}} ", cells[column], widths[column])
                              : fmt::format(" {:<{}} ", cells[column], widths[column]);
    }
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  std::string text = line(table.headers);
  std::vector<std::string> rule;
  rule.reserve(widths.size());
  for (const std::size_t width : widths) rule.emplace_back(width, '-');
  text += line(rule);
  for (const auto& row : table.rows) text += line(row);
  return text;
}

/// Text as it stands in Markdown, on one line.
std::string in_markdown(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    if (std::string_view("\\`*_[]<|~&").find(letter) != std::string_view::npos) result += '\\';
    result += static_cast<unsigned char>(letter) < ' ' ? ' ' : letter;
  }
  return result;
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string text = "|";
  for (const std::string& cell : cells) text += fmt::format(" {} |", in_markdown(cell));
  return text + "\n";
}

std::string markdown_table(const Table& table) {
  std::string text = markdown_row(table.headers);
  text += "|";
  for (const bool numeric : numeric_columns(table)) text += numeric ? "---:|" : "---|";
  text += "\n";
  for (const auto& row : table.rows) text += markdown_row(row);
  return text;
}

/// " (FAILED)" behind a title, or nothing.
std::string in_brackets(const Section& section) {
  return *section.verdict() == 0 ? "" : fmt::format(" ({})", section.verdict());
}

std::string html_row(const std::vector<std::string>& cells, const char* tag,
                     const std::vector<bool>& numeric) {
  std::string text = "<tr>";
  for (std::size_t column = 0; column < cells.size(); ++column) {
    text += fmt::format("<{}{}>{}</{}>", tag, numeric[column] ? " class=\"number\"" : "",
                        escaped(cells[column]), tag);
  }
  return text + "</tr>\n";
}

std::string html_table(const Table& table) {
  const std::vector<bool> numeric = numeric_columns(table);
  std::string text =
      "<div class=\"scroll\"><table>\n<thead>" + html_row(table.headers, "th", numeric);
  text += "</thead><tbody>\n";
  for (const auto& row : table.rows) text += html_row(row, "td", numeric);
  return text + "</tbody></table></div>\n";
}

}  // namespace

std::string as_text(const std::string& title, const std::vector<Section>& sections) {
  std::string text;
  for (const Section& section : sections) {
    const std::string verdict = section.verdict();
    text += fmt::format("\n{}{}: {}\n", verdict.empty() ? "" : verdict + "  ", section.title,
                        section.summary);
    if (!section.brief && !section.table.headers.empty()) text += text_table(section.table);
  }
  return text + "\n" + title + "\n";
}

std::string as_markdown(const std::string& title, const std::vector<Section>& sections,
                        const std::vector<Picture>& pictures) {
  std::string text = fmt::format("# meshparity\n\n**{}**\n", in_markdown(title));
  for (const Section& section : sections) {
    text += fmt::format("\n## {}{}\n\n{}\n", in_markdown(section.title), in_brackets(section),
                        in_markdown(section.summary));
    if (!section.table.headers.empty()) text += "\n" + markdown_table(section.table);
  }
  for (const Picture& picture : pictures) {
    text += fmt::format("\n## {0}\n\n![{0}]({1})\n", picture.title, picture.file);
  }
  return text;
}

std::string as_html(const std::string& title, const std::vector<Section>& sections,
                    const std::vector<Picture>& pictures) {
  std::string text = fmt::format("<h1>meshparity</h1>\n<div class=\"verdict{}\">{}</div>\n",
                                 status_of(sections) == 0 ? "" : " failed", escaped(title));
  for (const Section& section : sections) {
    text += fmt::format("<section{}>\n<h2>{}{}</h2>\n<p>{}</p>\n",
                        *section.verdict() != 0 ? " class=\"failed\"" : "", escaped(section.title),
                        in_brackets(section), escaped(section.summary));
    if (!section.table.headers.empty()) text += html_table(section.table);
    text += "</section>\n";
  }
  for (const Picture& picture : pictures) {
    text += fmt::format("<section>\n<h2>{}</h2>\n<p>{}</p>\n{}</section>\n", escaped(picture.title),
                        escaped(picture.summary), picture.svg);
  }
  return html::page("meshparity report", "", text);
}

}  // namespace meshparity::report
