#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "golden/files/positioned_file.h"

/// The safetensors format: 8 bytes little-endian length of a JSON header, the header, the tensors'
/// bytes one after the other, little-endian on every machine.
namespace meshparity {

/// Values of a type that nothing here computes with, to be compared.
struct OtherValues {
  std::string dtype;      ///< "BF16", "F16", "I64", ...
  std::size_t width = 1;  ///< bytes of a value
  std::string bytes;      ///< as in the file

  std::size_t size() const { return bytes.size() / width; }
};

/// A named array, row-major.
struct StoredTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::variant<std::vector<float>, std::vector<std::int32_t>, OtherValues> values;
};

struct TensorFile {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// A tensor where it stands in a file.
struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<std::size_t> shape;
  std::size_t begin = 0;  ///< of its bytes
  std::size_t end = 0;
};

/// What the header of a file says.
struct TensorIndex {
  std::vector<TensorEntry> tensors;  ///< in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// The file's bytes, a function of the contents alone: tensors in the given order, metadata by key,
/// the header padded with spaces to a multiple of 8 bytes. Throws std::invalid_argument if a shape
/// does not fit its values, a name is repeated or reserved, or a text is no UTF-8.
std::string safetensors_bytes(const TensorFile& file);

/// What stands before the tensors' bytes: the header and its length. Offsets of `index` count from
/// its end.
std::string safetensors_header(const TensorIndex& index);

/// Reads a header, checked against the bytes that follow. `name` stands for the bytes in errors.
/// Throws UsageError for anything that is not exactly such a file: truncated, trailing bytes, a
/// header that is too large or no JSON, an unknown dtype, a shape that overflows or does not fit
/// its bytes, bytes shared or unused. The header's keys may stand in any order.
TensorIndex index_safetensors(std::string_view bytes, const std::string& name);

/// The same of a file, whose header alone is read.
TensorIndex index_safetensors(const ReadableFile& file);

/// The same with every tensor's values, tensors in the order of their bytes.
TensorFile parse_safetensors(std::string_view bytes, const std::string& name);

/// Written under a temporary name and renamed. Throws as AtomicFile does.
void save_safetensors(const std::string& path, const TensorFile& file);
TensorFile load_safetensors(const std::string& path);

/// The number of values of a shape; nothing if it overflows.
std::optional<std::size_t> value_count(const std::vector<std::size_t>& shape);

/// "F32", "I32", "BF16", ...
std::string dtype_of(const StoredTensor& tensor);

/// "(27, 16)"; "()" for a single value.
std::string shape_text(const std::vector<std::size_t>& shape);

/// "[3, 5]": row, column, ... of an element.
std::string index_text(const std::vector<std::size_t>& shape, std::size_t element);

}  // namespace meshparity
