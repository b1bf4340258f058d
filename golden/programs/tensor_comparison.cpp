#include "golden/programs/tensor_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "oracle/compare.h"

namespace meshparity {
namespace {

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

/// How many elements differ, and by how much.
void count_differences(const StoredTensor& left, const StoredTensor& right,
                       TensorComparison& comparison) {
  const auto* const a = std::get_if<std::vector<float>>(&left.values);
  const auto* const b = std::get_if<std::vector<float>>(&right.values);
  if (a == nullptr || b == nullptr || a->size() != b->size()) {
    comparison.different = comparison.elements;
    comparison.relative = 1;
    return;
  }
  double squares = 0;
  double off = 0;
  for (std::size_t i = 0; i < a->size(); ++i) {
    const auto x = static_cast<double>((*a)[i]);
    const double d = static_cast<double>((*b)[i]) - x;
    comparison.different += same_float((*a)[i], (*b)[i]) ? 0 : 1;
    squares += x * x;
    off += d * d;
  }
  comparison.relative = off == 0 ? 0 : std::sqrt(off / squares);
  if (std::isnan(comparison.relative)) {
    comparison.relative = std::numeric_limits<double>::infinity();
  }
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

std::vector<TensorComparison> compare_every_tensor(const TensorFile& left, const TensorFile& right,
                                                   std::size_t step) {
  std::vector<TensorComparison> comparisons;
  const auto find = [](const TensorFile& file, const std::string& name) {
    const auto found = std::ranges::find(file.tensors, name, &StoredTensor::name);
    return found == file.tensors.end() ? nullptr : &*found;
  };
  const auto add = [&](const StoredTensor& tensor) -> TensorComparison& {
    const auto elements = std::visit([](const auto& v) { return v.size(); }, tensor.values);
    return comparisons.emplace_back(TensorComparison{step, tensor.name, elements, 0, 0, ""});
  };
  const auto add_lonely = [&](const StoredTensor& tensor) {
    TensorComparison& comparison = add(tensor);
    comparison.different = comparison.elements;
    comparison.relative = 1;
    comparison.finding = fmt::format("only one has tensor '{}'", tensor.name);
  };
  for (const StoredTensor& tensor : left.tensors) {
    const StoredTensor* const other = find(right, tensor.name);
    if (other == nullptr) {
      add_lonely(tensor);
      continue;
    }
    TensorComparison& comparison = add(tensor);
    comparison.finding = compare_tensors(tensor, *other).value_or("");
    if (!comparison.finding.empty()) count_differences(tensor, *other, comparison);
  }
  for (const StoredTensor& tensor : right.tensors) {
    if (find(left, tensor.name) == nullptr) add_lonely(tensor);
  }
  return comparisons;
}

}  // namespace meshparity
