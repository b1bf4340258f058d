// meshparity-report: reads what the verbs measured, prints the table, writes the report.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "ci/report/results.h"
#include "ci/report/sections.h"
#include "ci/report/write.h"

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

std::vector<Picture> pictures_of(const Results& results) {
  std::vector<Picture> pictures;
  if (results.golden.present()) {
    pictures.push_back({"Loss curves of the recorded traces",
                        "One curve per recipe: every mesh and both transports draw this very one.",
                        "loss_curves.svg", loss_curves(results.golden.value)});
  }
  if (results.bench.present()) {
    pictures.push_back({"Speed", "Ratios, and marks at the bars they are held to.",
                        "bench_bars.svg", bench_bars(results.bench.value)});
  }
  std::erase_if(pictures, [](const Picture& picture) { return picture.svg.empty(); });
  return pictures;
}

/// Prints and writes the report of `folder`; returns the exit status.
int report(const std::filesystem::path& folder, const std::string& sources,
           const std::vector<std::string>& required) {
  const Results results = read_results(folder, sources);
  const std::vector<Section> sections = sections_of(results, required, {});
  const std::string title = headline(results, sections);
  fmt::print("{}", as_text(title, sections));

  const std::vector<Picture> pictures = pictures_of(results);
  const bool written = std::all_of(pictures.begin(), pictures.end(),
                                   [&](const Picture& picture) {
                                     return write_file(folder / picture.file, picture.svg);
                                   }) &&
                       write_file(folder / "report.md", as_markdown(title, sections, pictures)) &&
                       write_file(folder / "report.html", as_html(title, sections, pictures));
  if (!written) return 3;
  fmt::print("report: {}\n", (folder / "report.html").string());
  return status_of(sections);
}

/// Prints these parts alone; returns the exit status.
int show(const std::filesystem::path& folder, const std::string& sources,
         const std::vector<std::string>& only) {
  const std::vector<Section> sections = sections_of(read_results(folder, sources), only, only);
  const int status = status_of(sections);
  const char* const title = status == 1 ? "FAILED" : status == 4 ? "UNVERIFIED" : "nothing failed";
  fmt::print("{}", as_text(title, sections));
  return status;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Prints what the verbs measured and writes report.md and report.html.\n"
      "Exit status: 0 nothing failed, 1 something did, 2 bad usage, 3 cannot write, 4 nothing failed\n"
      "but something was not run, not read or not judged.",
      "meshparity-report");
  std::string folder = "build/reports";
  std::string sources;
  std::vector<std::string> required;
  std::vector<std::string> only;
  const CLI::IsMember is_part(
      {"parity", "oracle", "golden", "mutants", "coverage", "portability", "bench"});
  app.add_option("--reports", folder, "The folder with the results, and for the report")
      ->check(CLI::ExistingDirectory);
  app.add_option("--sources", sources,
                 "Digest of the sources; results measured on others do not count");
  app.add_option("--require", required, "Parts that are unverified when they were not run")
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
