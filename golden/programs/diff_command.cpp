#include "golden/programs/diff_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "golden/files/checkpoint.h"
#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/convert_checkpoint.h"
#include "golden/programs/difference_page.h"
#include "golden/programs/program.h"
#include "golden/programs/tensor_comparison.h"
#include "model/error.h"
#include "model/numerics/premises.h"

namespace meshparity {
namespace {

constexpr const char* kDiffDescription =
    "Compares two loss traces, safetensors files, recordings or checkpoints bit for bit and names\n"
    "the first difference.";

constexpr const char* kDiffFooter =
    R"(Traces are compared in what was trained, in every step that both record, and in the end; who
recorded them, when and why is not compared. Several actual traces are those of one run that stopped
and went on: each must go on where the one before it stopped. Checkpoints may have different layouts.
Recordings are folders of step-000000.safetensors, ...: their tensors are compared.

Exit status: 0 the same, 1 not the same, 2 bad usage or input.)";

constexpr std::size_t kMostShown = 2000;  // bytes of a difference

bool is_trace(const std::string& text) { return text.starts_with('{'); }

std::optional<std::string> compare_with_joined(const std::string& left_path,
                                               const std::vector<std::string>& right_paths) {
  std::vector<Trace> parts;
  for (const std::string& path : right_paths) parts.push_back(load_trace(path));
  const auto difference = compare_traces(load_trace(left_path), joined(parts));
  return difference ? std::optional(to_string(*difference)) : std::nullopt;
}

/// What two files or folders were found to be.
struct Comparison {
  std::optional<std::string> difference;    ///< the first one
  std::vector<TensorComparison> tensors{};  ///< all of them, if a page is wanted
};

Comparison compare_tensor_files(const TensorFile& left, const TensorFile& right,
                                bool every_tensor) {
  Comparison comparison{compare_tensor_files(left, right)};
  if (every_tensor) comparison.tensors = compare_every_tensor(left, right, 0);
  return comparison;
}

/// Files of recorded steps, in order; none if a folder is no recording.
std::vector<std::string> recorded_files(const std::string& folder) {
  std::vector<std::string> files;
  if (!std::filesystem::is_directory(folder)) return files;
  for (const std::string& name : read_folder(folder)) {
    if (name.starts_with("step-") && name.ends_with(".safetensors")) files.push_back(name);
  }
  std::ranges::sort(files);
  return files;
}

/// Tensors alone: how they were made is not compared.
Comparison compare_recordings(const std::string& left, const std::string& right,
                              bool every_tensor) {
  const std::vector<std::string> files = recorded_files(left);
  if (files != recorded_files(right)) return {"the folders do not hold the same recorded files"};
  Comparison comparison;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto load = [&](const std::string& folder) {
      TensorFile file = load_safetensors((std::filesystem::path(folder) / files[i]).string());
      file.metadata.clear();
      return file;
    };
    const TensorFile a = load(left);
    const TensorFile b = load(right);
    const auto difference = compare_tensor_files(a, b);
    if (difference && !comparison.difference) {
      comparison.difference = fmt::format("{}: {}", files[i], *difference);
      if (!every_tensor) return comparison;
    }
    if (!every_tensor) continue;
    const auto tensors = compare_every_tensor(a, b, i);
    comparison.tensors.insert(comparison.tensors.end(), tensors.begin(), tensors.end());
  }
  return comparison;
}

Comparison compare_files(const std::string& left_path, const std::string& right_path,
                         bool every_tensor) {
  if (!recorded_files(left_path).empty() && std::filesystem::is_directory(right_path)) {
    return compare_recordings(left_path, right_path, every_tensor);
  }
  if (std::filesystem::is_directory(left_path) || std::filesystem::is_directory(right_path)) {
    return compare_tensor_files(gathered_tensors(Checkpoint(left_path)),
                                gathered_tensors(Checkpoint(right_path)), every_tensor);
  }
  const std::string left = read_file(left_path, "trace or safetensors");
  const std::string right = read_file(right_path, "trace or safetensors");
  if (is_trace(left) != is_trace(right)) {
    throw UsageError(
        fmt::format("'{}' is a trace and '{}' is not", is_trace(left) ? left_path : right_path,
                    is_trace(left) ? right_path : left_path),
        "give two traces or two safetensors files");
  }
  if (!is_trace(left)) {
    return compare_tensor_files(parse_safetensors(left, left_path),
                                parse_safetensors(right, right_path), every_tensor);
  }
  const auto difference =
      compare_traces(parse_trace(left, left_path), parse_trace(right, right_path));
  return {difference ? std::optional(to_string(*difference)) : std::nullopt};
}

}  // namespace

int diff_command(const std::vector<std::string>& arguments) {
  require_premises();
  CLI::App app(kDiffDescription, "meshparity-diff");
  app.footer(kDiffFooter);
  app.set_version_flag("--version", std::string("meshparity-diff ") + MESHPARITY_VERSION);
  std::string left;
  std::vector<std::string> right;
  std::string explained;
  std::string html;
  app.add_option("expected", left, "trace, safetensors file, recording or checkpoint")
      ->type_name("PATH");
  app.add_option("actual", right, "one of the same kind, or several traces")->type_name("PATH");
  app.add_option("--html", html, "also write a page of it there: every tensor on a map")
      ->type_name("FILE");
  app.add_option("--explain", explained, "say what is in a checkpoint")->type_name("PATH");
  parse_arguments(app, arguments);
  if (explained.empty() == right.empty()) {
    throw UsageError("it takes expected and actual to compare, or --explain alone",
                     "meshparity-diff --help");
  }
  if (!explained.empty()) {
    fmt::print("{}", explain(Checkpoint(explained)));
    return kSuccess;
  }
  if (!html.empty()) require_writable(html);
  const auto [difference, tensors] = right.size() == 1
                                         ? compare_files(left, right.front(), !html.empty())
                                         : Comparison{compare_with_joined(left, right)};
  if (!html.empty()) {
    write_file(html, difference_page(fmt::format("{} and {}", left, fmt::join(right, ", ")),
                                     difference.value_or(""), tensors));
  }
  if (!difference) return kSuccess;
  fmt::print("first difference: {}\n", printable(*difference, kMostShown));
  return kProofFailed;
}

}  // namespace meshparity
