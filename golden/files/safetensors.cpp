#include "golden/files/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <stdexcept>
#include <tuple>

#include "golden/files/file_io.h"
#include "golden/files/little_endian.h"
#include "golden/files/printable.h"
#include "golden/files/strict_json.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kAlignment = 8;
constexpr std::uint64_t kLargestHeader = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadataKey = "__metadata__";

struct Dtype {
  const char* name;
  std::size_t width;  // bytes of a value
};
constexpr std::array<Dtype, 15> kDtypes = {{{"F32", 4},
                                            {"I32", 4},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8},
                                            {"U32", 4},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"I8", 1},
                                            {"U8", 1},
                                            {"BOOL", 1},
                                            {"F8_E4M3", 1},
                                            {"F8_E5M2", 1}}};

/// Bytes of a value. Throws UsageError.
std::size_t width_of(const std::string& dtype) {
  const auto* const found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                         [&](const Dtype& known) { return dtype == known.name; });
  if (found != kDtypes.end()) return found->width;
  throw UsageError(fmt::format("dtype '{}' is unknown", printable(dtype)));
}

std::size_t size_of(const StoredTensor& tensor) {
  return std::visit([](const auto& values) { return values.size(); }, tensor.values);
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

/// One member of the header, so that a header is put together in one pass.
std::string member_text(const std::string& name, const nlohmann::ordered_json& value) {
  return nlohmann::ordered_json(name).dump() + ":" + value.dump();
}

/// The places of values that follow each other.
TensorIndex index_of(const TensorFile& file) {
  TensorIndex index{{}, file.metadata};
  std::size_t offset = 0;
  for (const StoredTensor& tensor : file.tensors) {
    const std::string dtype = dtype_of(tensor);
    const std::size_t end = offset + size_of(tensor) * width_of(dtype);
    index.tensors.push_back({tensor.name, dtype, tensor.shape, offset, end});
    offset = end;
  }
  return index;
}

/// Gives a whole file to `write`, piece by piece.
template <typename Write>
void write_pieces(const TensorFile& file, Write write) {
  require_storable(file);
  std::string piece = safetensors_header(index_of(file));
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  for (const StoredTensor& tensor : file.tensors) {
    if (const auto* const other = std::get_if<OtherValues>(&tensor.values)) {
      piece += other->bytes;
      continue;
    }
    const auto add = [&](auto value) {
      append_little_endian(piece, std::bit_cast<std::uint32_t>(value));
      if (piece.size() < kPiece) return;
      write(piece);
      piece.clear();
    };
    if (const auto* const floats = std::get_if<std::vector<float>>(&tensor.values)) {
      for (const float value : *floats) add(value);
    } else {
      for (const std::int32_t value : std::get<std::vector<std::int32_t>>(tensor.values)) {
        add(value);
      }
    }
  }
  write(piece);
}

std::vector<std::size_t> whole_numbers(const Json& entry, const std::string& key) {
  const auto list = entry.find(key);
  if (list == entry.end() || !list->is_array()) throw UsageError(fmt::format("no list '{}'", key));
  std::vector<std::size_t> numbers;
  for (const Json& item : *list) {
    if (!item.is_number_unsigned() ||
        item.get<std::uint64_t>() > std::numeric_limits<std::size_t>::max()) {
      throw UsageError(
          fmt::format("'{}' in '{}' is not a whole number", printable(item.dump()), key));
    }
    numbers.push_back(item.get<std::size_t>());
  }
  return numbers;
}

/// One entry by itself; its bytes counted from the header's end.
TensorEntry parse_entry(const std::string& name, const Json& json) {
  if (!json.is_object()) throw UsageError("its entry is not an object");
  TensorEntry entry;
  entry.name = name;
  entry.dtype = string_member(json, "dtype");
  const std::size_t width = width_of(entry.dtype);
  entry.shape = whole_numbers(json, "shape");
  const std::vector<std::size_t> offsets = whole_numbers(json, "data_offsets");
  if (offsets.size() != 2 || json.size() != 3) {
    throw UsageError("its entry needs dtype, shape and two data_offsets, and nothing else");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.end < entry.begin) {
    throw UsageError(fmt::format("its bytes are {} to {}", entry.begin, entry.end));
  }
  const std::optional<std::size_t> count = value_count(entry.shape);
  const std::size_t bytes = entry.end - entry.begin;
  if (!count || bytes % width != 0 || bytes / width != *count) {
    throw UsageError(fmt::format("shape {} of {} does not fit its {} bytes",
                                 printable(shape_text(entry.shape)), entry.dtype, bytes));
  }
  return entry;
}

/// Every tensor must begin where the one before it ended, and the last end with the file.
void require_adjacent(const std::vector<TensorEntry>& tensors, std::size_t data_bytes) {
  std::size_t offset = 0;
  for (const TensorEntry& tensor : tensors) {
    const auto refuse = [&](const std::string& why) {
      throw UsageError(fmt::format("tensor '{}': {}", printable(tensor.name), why));
    };
    if (tensor.begin != offset) {
      refuse(fmt::format("its bytes are {} to {}, but should begin at {}", tensor.begin, tensor.end,
                         offset));
    }
    if (tensor.end > data_bytes) {
      refuse(fmt::format("its bytes end at {}, but the file holds {} (is it cut off?)", tensor.end,
                         data_bytes));
    }
    offset = tensor.end;
  }
  if (offset != data_bytes) {
    throw UsageError(fmt::format("{} bytes follow the last tensor", data_bytes - offset));
  }
}

StoredTensor read_tensor(const TensorEntry& entry, std::string_view bytes) {
  StoredTensor tensor{entry.name, entry.shape, {}};
  const std::string_view own = bytes.substr(entry.begin, entry.end - entry.begin);
  const auto words = [&](auto values) {
    using Value = typename decltype(values)::value_type;
    values.resize(own.size() / sizeof(Value));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = std::bit_cast<Value>(little_endian_at<std::uint32_t>(own, i * sizeof(Value)));
    }
    tensor.values = std::move(values);
  };
  if (entry.dtype == "F32") {
    words(std::vector<float>());
  } else if (entry.dtype == "I32") {
    words(std::vector<std::int32_t>());
  } else {
    tensor.values = OtherValues{entry.dtype, width_of(entry.dtype), std::string(own)};
  }
  return tensor;
}

std::map<std::string, std::string> parse_metadata(const Json& json) {
  std::map<std::string, std::string> metadata;
  if (!json.is_object()) throw UsageError("its __metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      throw UsageError(fmt::format("metadata '{}' is not a string", printable(key)));
    }
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

/// The header's text, without knowing yet whether it is JSON.
std::string_view header_of(std::string_view bytes, std::size_t file_bytes) {
  if (file_bytes < kLengthBytes) {
    throw UsageError(fmt::format("it has {} bytes, too few for a header", file_bytes));
  }
  const auto length = little_endian_at<std::uint64_t>(bytes, 0);
  const std::size_t rest = file_bytes - kLengthBytes;
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

TensorIndex index_of(std::string_view bytes, std::size_t file_bytes) {
  const std::string_view header = header_of(bytes, file_bytes);
  const Json json = parse_sorted_json(header);
  TensorIndex index;
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      index.metadata = parse_metadata(value);
      continue;
    }
    try {
      index.tensors.push_back(parse_entry(name, value));
    } catch (const UsageError& e) {
      throw UsageError(fmt::format("tensor '{}': {}", printable(name), e.what()));
    }
  }
  std::sort(index.tensors.begin(), index.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  const std::size_t data = kLengthBytes + header.size();
  require_adjacent(index.tensors, file_bytes - data);
  for (TensorEntry& tensor : index.tensors) {
    tensor.begin += data;
    tensor.end += data;
  }
  return index;
}

/// `bytes`: at least the header of a file of this size, if it has one.
TensorIndex checked_index(std::string_view bytes, std::size_t file_bytes, const std::string& name) {
  try {
    return index_of(bytes, file_bytes);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("'{}' is not a usable safetensors file: {}", name, e.what()),
                     "give a whole file written by meshparity-train --save");
  }
}

}  // namespace

std::string safetensors_bytes(const TensorFile& file) {
  std::string bytes;
  write_pieces(file, [&](const std::string& piece) { bytes += piece; });
  return bytes;
}

std::string safetensors_header(const TensorIndex& index) {
  std::vector<std::string> members;
  try {
    if (!index.metadata.empty()) members.push_back(member_text(kMetadataKey, index.metadata));
    for (const TensorEntry& tensor : index.tensors) {
      // An object from the start: a null that becomes one cannot be destroyed if memory is short.
      auto entry = nlohmann::ordered_json::object();
      entry["dtype"] = tensor.dtype;
      entry["shape"] = tensor.shape;
      entry["data_offsets"] = {tensor.begin, tensor.end};
      members.push_back(member_text(tensor.name, entry));
    }
  } catch (const nlohmann::ordered_json::exception& e) {
    throw std::invalid_argument(e.what());
  }
  std::string text = fmt::format("{{{}}}", fmt::join(members, ","));
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  std::string bytes;
  append_little_endian(bytes, std::uint64_t{text.size()});
  return bytes + text;
}

TensorIndex index_safetensors(std::string_view bytes, const std::string& name) {
  return checked_index(bytes, bytes.size(), name);
}

TensorIndex index_safetensors(const ReadableFile& file) {
  const std::string first = file.read(0, std::min(file.size(), kLengthBytes));
  std::size_t bytes = first.size();
  if (bytes == kLengthBytes) {
    const auto length = little_endian_at<std::uint64_t>(first, 0);
    if (length <= std::min<std::uint64_t>(kLargestHeader, file.size() - bytes)) bytes += length;
  }
  return checked_index(file.read(0, bytes), file.size(), file.path());
}

TensorFile parse_safetensors(std::string_view bytes, const std::string& name) {
  TensorIndex index = index_safetensors(bytes, name);
  TensorFile file;
  file.metadata = std::move(index.metadata);
  for (const TensorEntry& entry : index.tensors) file.tensors.push_back(read_tensor(entry, bytes));
  return file;
}

void save_safetensors(const std::string& path, const TensorFile& file) {
  AtomicFile output(path);
  write_pieces(file, [&](const std::string& piece) { output.write(piece); });
  output.commit();
}

TensorFile load_safetensors(const std::string& path) {
  return parse_safetensors(read_file(path, "safetensors"), path);
}

std::optional<std::size_t> value_count(const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    if (extent != 0 && count > std::numeric_limits<std::size_t>::max() / extent) return {};
    count *= extent;
  }
  return count;
}

std::string dtype_of(const StoredTensor& tensor) {
  if (const auto* const other = std::get_if<OtherValues>(&tensor.values)) return other->dtype;
  return std::holds_alternative<std::vector<float>>(tensor.values) ? "F32" : "I32";
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

std::string index_text(const std::vector<std::size_t>& shape, std::size_t element) {
  std::vector<std::size_t> index(shape.size());
  for (std::size_t d = shape.size(); d-- > 0;) {
    index[d] = element % shape[d];
    element /= shape[d];
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

}  // namespace meshparity
