#include "golden/programs/diff_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>

#include "golden/files/checkpoint.h"
#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/files/trace_file.h"
#include "golden/jobs/convert_checkpoint.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "model/numerics/premises.h"
#include "oracle/compare.h"

namespace meshparity {
namespace {

constexpr const char* kDescription =
    "Compares two loss traces, safetensors files or checkpoints bit for bit and names the first\n"
    "difference.";

constexpr const char* kFooter =
    R"(Traces are compared in what was trained, in every step that both record, and in the end; who
recorded them, when and why is not compared. Several actual traces are those of one run that stopped
and went on: each must go on where the one before it stopped. Checkpoints may have different layouts.

Exit status: 0 the same, 1 not the same, 2 bad usage or input.)";

constexpr std::size_t kMostShown = 2000;  // bytes of a difference

struct ValueDifference {
  std::size_t element;
  std::string text;
};

std::optional<ValueDifference> compare_values(const std::vector<float>& left,
                                              const std::vector<float>& right) {
  const Exact expected(left);
  const auto difference =
      first_difference(0, ParameterSpec{.name = "", .columns = left.size()}, expected, right);
  if (!difference) return std::nullopt;
  return ValueDifference{difference->index,
                         expected.describe(difference->index, right[difference->index])};
}

std::optional<ValueDifference> compare_values(const std::vector<std::int32_t>& left,
                                              const std::vector<std::int32_t>& right) {
  const auto at = std::mismatch(left.begin(), left.end(), right.begin());
  if (at.first == left.end()) return std::nullopt;
  return ValueDifference{static_cast<std::size_t>(at.first - left.begin()),
                         fmt::format("expected {}, got {}", *at.first, *at.second)};
}

std::optional<ValueDifference> compare_values(const OtherValues& left, const OtherValues& right) {
  const auto at = std::mismatch(left.bytes.begin(), left.bytes.end(), right.bytes.begin());
  if (at.first == left.bytes.end()) return std::nullopt;
  const std::size_t element = static_cast<std::size_t>(at.first - left.bytes.begin()) / left.width;
  const auto bits = [&](const OtherValues& values) {
    std::string text;
    for (std::size_t i = left.width; i-- > 0;) {
      const char byte = values.bytes[element * left.width + i];
      text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    return text;
  };
  return ValueDifference{
      element, fmt::format("expected bits {}, got {} ({})", bits(left), bits(right), left.dtype)};
}

std::optional<std::string> compare_tensors(const StoredTensor& left, const StoredTensor& right) {
  if (left.name != right.name) {
    return fmt::format("tensor '{}' stands where the other file has '{}'", left.name, right.name);
  }
  if (left.shape != right.shape) {
    return fmt::format("tensor '{}' is {} in one, {} in the other", left.name,
                       shape_text(left.shape), shape_text(right.shape));
  }
  if (dtype_of(left) != dtype_of(right)) {
    return fmt::format("tensor '{}' is {} in one, {} in the other", left.name, dtype_of(left),
                       dtype_of(right));
  }
  const auto difference = std::visit(
      [&](const auto& values) {
        return compare_values(values, std::get<std::decay_t<decltype(values)>>(right.values));
      },
      left.values);
  if (!difference) return std::nullopt;
  return fmt::format("tensor '{}' {}: {}", left.name, index_text(left.shape, difference->element),
                     difference->text);
}

bool is_trace(const std::string& text) { return text.starts_with('{'); }

std::optional<std::string> compare_with_joined(const std::string& left_path,
                                               const std::vector<std::string>& right_paths) {
  std::vector<Trace> parts;
  for (const std::string& path : right_paths) parts.push_back(load_trace(path));
  const auto difference = compare_traces(load_trace(left_path), joined(parts));
  return difference ? std::optional(to_string(*difference)) : std::nullopt;
}

std::optional<std::string> compare_files(const std::string& left_path,
                                         const std::string& right_path) {
  if (std::filesystem::is_directory(left_path) || std::filesystem::is_directory(right_path)) {
    return compare_tensor_files(gathered_tensors(Checkpoint(left_path)),
                                gathered_tensors(Checkpoint(right_path)));
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
                                parse_safetensors(right, right_path));
  }
  const auto difference =
      compare_traces(parse_trace(left, left_path), parse_trace(right, right_path));
  return difference ? std::optional(to_string(*difference)) : std::nullopt;
}

}  // namespace

std::optional<std::string> compare_tensor_files(const TensorFile& left, const TensorFile& right) {
  const std::size_t common = std::min(left.tensors.size(), right.tensors.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (auto difference = compare_tensors(left.tensors[i], right.tensors[i])) return difference;
  }
  if (left.tensors.size() != right.tensors.size()) {
    const auto& longer = left.tensors.size() > common ? left.tensors : right.tensors;
    return fmt::format("only one file has tensor '{}'", longer[common].name);
  }
  if (left.metadata != right.metadata) {
    for (const auto& [key, value] : left.metadata) {
      const auto other = right.metadata.find(key);
      if (other == right.metadata.end()) return fmt::format("only one file has metadata '{}'", key);
      if (other->second != value) {
        return fmt::format("metadata '{}': expected '{}', got '{}'", key, value, other->second);
      }
    }
    return "one file has more metadata than the other";
  }
  return std::nullopt;
}

int diff_command(const std::vector<std::string>& arguments) {
  require_premises();
  CLI::App app(kDescription, "meshparity-diff");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("meshparity-diff ") + MESHPARITY_VERSION);
  std::string left;
  std::vector<std::string> right;
  std::string explained;
  app.add_option("expected", left, "trace, safetensors file or checkpoint")->type_name("PATH");
  app.add_option("actual", right, "one of the same kind, or several traces")->type_name("PATH");
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
  const std::optional<std::string> difference =
      right.size() == 1 ? compare_files(left, right.front()) : compare_with_joined(left, right);
  if (!difference) return kSuccess;
  fmt::print("first difference: {}\n", printable(*difference, kMostShown));
  return kProofFailed;
}

}  // namespace meshparity
