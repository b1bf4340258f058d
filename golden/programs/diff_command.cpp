#include "golden/programs/diff_command.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/files/file_io.h"
#include "golden/files/printable.h"
#include "golden/files/trace_file.h"
#include "golden/programs/program.h"
#include "model/error.h"
#include "model/numerics/premises.h"
#include "oracle/compare.h"

namespace meshparity {
namespace {

constexpr const char* kDescription =
    "Compares two loss traces or two safetensors files bit for bit and names the first difference.";

constexpr const char* kFooter =
    R"(Traces are compared in what was trained, in every step that both record, and in the end; who
recorded them, when and why is not compared.

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

std::optional<std::string> compare_files(const std::string& left_path,
                                         const std::string& right_path) {
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
  std::string right;
  app.add_option("expected", left, "trace or safetensors file")->required()->type_name("FILE");
  app.add_option("actual", right, "file of the same kind")->required()->type_name("FILE");
  parse_arguments(app, arguments);
  const std::optional<std::string> difference = compare_files(left, right);
  if (!difference) return kSuccess;
  fmt::print("first difference: {}\n", printable(*difference, kMostShown));
  return kProofFailed;
}

}  // namespace meshparity
