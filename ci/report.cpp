// meshparity-report: reads what the verbs measured, prints the table, writes the report.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "ci/results.h"
#include "ci/sections.h"
#include "ci/write.h"

namespace meshparity::report {
namespace {

/// False if the file could not be written whole.
bool write_file(const std::filesystem::path& file, const std::string& text) {
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) fmt::print(stderr, "error: cannot write {}\n", file.string());
  return static_cast<bool>(stream);
}

/// Prints and writes the report of `folder`; returns the exit status.
int report(const std::filesystem::path& folder, const std::string& sources,
           const std::vector<std::string>& required) {
  const Results results = read_results(folder, sources);
  const std::vector<Section> sections = sections_of(results, required, {});
  const std::string title = headline(results, sections);
  fmt::print("{}", as_text(title, sections));

  const std::string curves = results.golden.present() ? loss_curves(results.golden.value) : "";
  const std::string picture = curves.empty() ? "" : "loss_curves.svg";
  const bool written = (curves.empty() || write_file(folder / picture, curves)) &&
                       write_file(folder / "report.md", as_markdown(title, sections, picture)) &&
                       write_file(folder / "report.html", as_html(title, sections, curves));
  if (!written) return 3;
  fmt::print("report: {}\n", (folder / "report.html").string());
  const bool failed = std::any_of(sections.begin(), sections.end(),
                                  [](const Section& part) { return part.failed; });
  return failed ? 1 : 0;
}

/// Prints these parts alone; returns the exit status.
int show(const std::filesystem::path& folder, const std::string& sources,
         const std::vector<std::string>& only) {
  const std::vector<Section> sections = sections_of(read_results(folder, sources), only, only);
  const bool failed = std::any_of(sections.begin(), sections.end(),
                                  [](const Section& part) { return part.failed; });
  fmt::print("{}", as_text(failed ? "FAILED" : "nothing failed", sections));
  return failed ? 1 : 0;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Prints what the verbs measured and writes report.md and report.html.\n"
      "Exit status: 0 nothing failed, 1 something did, 2 bad usage, 3 cannot write.",
      "meshparity-report");
  std::string folder = "build/reports";
  std::string sources;
  std::vector<std::string> required;
  std::vector<std::string> only;
  const CLI::IsMember is_part({"parity", "oracle", "golden", "mutants", "coverage", "portability"});
  app.add_option("--reports", folder, "The folder with the results, and for the report")
      ->check(CLI::ExistingDirectory);
  app.add_option("--sources", sources,
                 "Digest of the sources; results measured on others do not count");
  app.add_option("--require", required, "Parts that fail when they were not run")
      ->delimiter(',')
      ->check(is_part);
  app.add_option("--only", only, "Print these parts alone, which are required; write nothing")
      ->delimiter(',')
      ->check(is_part);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return only.empty() ? report(folder, sources, required) : show(folder, sources, only);
}

}  // namespace
}  // namespace meshparity::report

int main(int argc, char** argv) {
  try {
    return meshparity::report::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 3;
  }
}
