#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// The safetensors format: 8 bytes little-endian length of a JSON header, the header, the tensors'
/// bytes one after the other, little-endian on every machine.
namespace meshparity {

/// A named array of F32 or I32 values, row-major.
struct StoredTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::variant<std::vector<float>, std::vector<std::int32_t>> values;
};

struct TensorFile {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// The file's bytes, a function of the contents alone: tensors in the given order, metadata by key,
/// the header padded with spaces to a multiple of 8 bytes. Throws std::invalid_argument if a shape
/// does not fit its values, a name is repeated or reserved, or a text is no UTF-8.
std::string safetensors_bytes(const TensorFile& file);

/// Reads it back. `name` stands for the bytes in errors. Throws UsageError for anything that is not
/// exactly such a file: truncated, trailing bytes, a header that is too large or no JSON, an
/// unknown dtype, a shape that overflows or does not fit its bytes, bytes out of order, shared or
/// unused.
TensorFile parse_safetensors(std::string_view bytes, const std::string& name);

/// Written under a temporary name and renamed. Throws as AtomicFile does.
void save_safetensors(const std::string& path, const TensorFile& file);
TensorFile load_safetensors(const std::string& path);

/// "(27, 16)"; "()" for a single value.
std::string shape_text(const std::vector<std::size_t>& shape);

}  // namespace meshparity
