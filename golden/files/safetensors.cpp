#include "golden/files/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <set>
#include <stdexcept>

#include "golden/files/file_io.h"
#include "golden/files/strict_json.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 8;
constexpr std::uint64_t kLargestHeader = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadataKey = "__metadata__";
constexpr std::size_t kValueBytes = 4;  // of F32 and of I32

template <typename Word>
void append_little_endian(std::string& bytes, Word word) {
  for (std::size_t i = 0; i < sizeof(Word); ++i) {
    bytes.push_back(static_cast<char>(word >> (8 * i) & 0xff));
  }
}

template <typename Word>
Word little_endian_at(std::string_view bytes, std::size_t at) {
  Word word = 0;
  for (std::size_t i = sizeof(Word); i-- > 0;) {
    word = static_cast<Word>(word << 8 | static_cast<unsigned char>(bytes[at + i]));
  }
  return word;
}

/// The number of values of a shape; nothing if it overflows.
std::optional<std::size_t> value_count(const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    if (extent != 0 && count > std::numeric_limits<std::size_t>::max() / extent) return {};
    count *= extent;
  }
  return count;
}

std::size_t size_of(const StoredTensor& tensor) {
  return std::visit([](const auto& values) { return values.size(); }, tensor.values);
}

const char* dtype_of(const StoredTensor& tensor) {
  return std::holds_alternative<std::vector<float>>(tensor.values) ? "F32" : "I32";
}

void require_storable(const TensorFile& file) {
  std::set<std::string> names;
  for (const StoredTensor& tensor : file.tensors) {
    if (tensor.name == kMetadataKey || !names.insert(tensor.name).second) {
      throw std::invalid_argument("tensor name '" + tensor.name + "' is reserved or repeated");
    }
    if (value_count(tensor.shape) != size_of(tensor)) {
      throw std::invalid_argument(fmt::format("tensor '{}' has {} values, its shape is {}",
                                              tensor.name, size_of(tensor),
                                              shape_text(tensor.shape)));
    }
  }
}

std::string header_text(const TensorFile& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header[kMetadataKey] = file.metadata;
  std::size_t offset = 0;
  for (const StoredTensor& tensor : file.tensors) {
    const std::size_t end = offset + size_of(tensor) * kValueBytes;
    Json& entry = header[tensor.name];
    entry["dtype"] = dtype_of(tensor);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, end};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& e) {
    throw std::invalid_argument(e.what());
  }
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return text;
}

/// What a header says about one tensor.
struct Entry {
  std::string dtype;
  std::vector<std::size_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::vector<std::uint64_t> whole_numbers(const Json& entry, const std::string& key) {
  const auto list = entry.find(key);
  if (list == entry.end() || !list->is_array()) throw UsageError(fmt::format("no list '{}'", key));
  std::vector<std::uint64_t> numbers;
  for (const Json& item : *list) {
    if (!item.is_number_unsigned() ||
        item.get<std::uint64_t>() > std::numeric_limits<std::size_t>::max()) {
      throw UsageError(fmt::format("'{}' in '{}' is not a whole number", item.dump(), key));
    }
    numbers.push_back(item.get<std::uint64_t>());
  }
  return numbers;
}

/// Checks one entry by itself and against the bytes that follow: it must begin where the tensor
/// before it ended.
Entry parse_entry(const Json& json, std::uint64_t expected_begin, std::uint64_t data_bytes) {
  if (!json.is_object()) throw UsageError("its entry is not an object");
  Entry entry;
  entry.dtype = string_member(json, "dtype");
  if (entry.dtype != "F32" && entry.dtype != "I32") {
    throw UsageError(fmt::format("dtype '{}' is not F32 or I32", entry.dtype));
  }
  const std::vector<std::uint64_t> shape = whole_numbers(json, "shape");
  entry.shape.assign(shape.begin(), shape.end());
  const std::vector<std::uint64_t> offsets = whole_numbers(json, "data_offsets");
  if (offsets.size() != 2 || json.size() != 3) {
    throw UsageError("its entry needs dtype, shape and two data_offsets, and nothing else");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.begin != expected_begin || entry.end < entry.begin) {
    throw UsageError(fmt::format("its bytes are {} to {}, but should begin at {}", entry.begin,
                                 entry.end, expected_begin));
  }
  if (entry.end > data_bytes) {
    throw UsageError(fmt::format("its bytes end at {}, but the file holds {} (is it cut off?)",
                                 entry.end, data_bytes));
  }
  const std::optional<std::size_t> count = value_count(entry.shape);
  const std::uint64_t bytes = entry.end - entry.begin;
  if (!count || bytes % kValueBytes != 0 || bytes / kValueBytes != *count) {
    throw UsageError(
        fmt::format("shape {} does not fit its {} bytes", shape_text(entry.shape), bytes));
  }
  return entry;
}

StoredTensor read_tensor(const std::string& name, const Entry& entry, std::string_view data) {
  StoredTensor tensor{name, entry.shape, {}};
  const std::size_t count = (entry.end - entry.begin) / kValueBytes;
  const auto fill = [&](auto values) {
    using Value = typename decltype(values)::value_type;
    values.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      values[i] = std::bit_cast<Value>(
          little_endian_at<std::uint32_t>(data, entry.begin + i * kValueBytes));
    }
    tensor.values = std::move(values);
  };
  if (entry.dtype == "F32") {
    fill(std::vector<float>());
  } else {
    fill(std::vector<std::int32_t>());
  }
  return tensor;
}

std::map<std::string, std::string> parse_metadata(const Json& json) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object()) throw UsageError("its __metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) throw UsageError(fmt::format("metadata '{}' is not a string", key));
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The header's text, without knowing yet whether it is JSON.
std::string_view header_of(std::string_view bytes) {
  if (bytes.size() < kLengthBytes) {
    throw UsageError(fmt::format("it has {} bytes, too few for a header", bytes.size()));
  }
  const auto length = little_endian_at<std::uint64_t>(bytes, 0);
  const std::size_t rest = bytes.size() - kLengthBytes;
  if (length > kLargestHeader) {
    throw UsageError(
        fmt::format("it announces a header of {} bytes, the limit is {}", length, kLargestHeader));
  }
  if (length > rest) {
    throw UsageError(
        fmt::format("it announces a header of {} bytes, but only {} follow", length, rest));
  }
  const std::string_view header = bytes.substr(kLengthBytes, length);
  if (!header.starts_with('{')) throw UsageError("its header does not begin with '{'");
  return header;
}

TensorFile parse(std::string_view bytes) {
  const std::string_view header = header_of(bytes);
  const Json json = parse_strict_json(header);
  const std::string_view data = bytes.substr(kLengthBytes + header.size());
  TensorFile file;
  std::uint64_t offset = 0;
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      file.metadata = parse_metadata(value);
      continue;
    }
    try {
      const Entry entry = parse_entry(value, offset, data.size());
      file.tensors.push_back(read_tensor(name, entry, data));
      offset = entry.end;
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("tensor '{}': {}", name, e.what()));
    }
  }
  if (offset != data.size()) {
    throw UsageError(fmt::format("{} bytes follow the last tensor", data.size() - offset));
  }
  return file;
}

}  // namespace

std::string safetensors_bytes(const TensorFile& file) {
  require_storable(file);
  const std::string header = header_text(file);
  std::string bytes;
  append_little_endian(bytes, std::uint64_t{header.size()});
  bytes += header;
  for (const StoredTensor& tensor : file.tensors) {
    bytes.reserve(bytes.size() + size_of(tensor) * kValueBytes);
    std::visit(
        [&](const auto& values) {
          for (const auto value : values) {
            append_little_endian(bytes, std::bit_cast<std::uint32_t>(value));
          }
        },
        tensor.values);
  }
  return bytes;
}

TensorFile parse_safetensors(std::string_view bytes, const std::string& name) {
  try {
    return parse(bytes);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("'{}' is not a usable safetensors file: {}", name, e.what()),
                     "give a whole file written by meshparity-train --save");
  }
}

void save_safetensors(const std::string& path, const TensorFile& file) {
  write_file(path, safetensors_bytes(file));
}

TensorFile load_safetensors(const std::string& path) {
  return parse_safetensors(read_file(path, "safetensors"), path);
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

}  // namespace meshparity
